"""Retraining: new cutoff, train, gates, shadow, comparison, promotion; each step written down first.

A run takes up the newest attempt where its last line says it stands, so that it can run from cron, be
killed anywhere, and run again: it comes to the same end.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue

from knownat.clock import Clock
from knownat.contract.model_spec import ModelSpec, TimeSplit, read_spec
from knownat.contract.prediction_log import Role
from knownat.contract.release import MANIFEST, Release, read_release
from knownat.contract.verdict import read_verdict
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, ReleaseError
from knownat.stores.pipelines import build_features
from training.attempts import Outcome, Record
from training.audit import Step, alone_with
from training.examples import read_examples
from training.pipeline import Progress, train
from training.promotion import promote
from training.publishing import next_version
from training.roles import champion_of, role_of, what_serves, withdraw_shadow
from training.shadowed import FEWEST_BLOCKS, Compared, Waiting, compare_answers
from training.triggers import No, Trigger, held_back, new_split, of_new_answers, of_schedule, of_verdict


@dataclass(frozen=True)
class Ask:
    """What a person said: train now and why, or what to do with the version in shadow and why."""

    reason: str | None = None
    approve: str | None = None
    refuse: str | None = None


def retrain(workspace: Workspace, model: str, ask: Ask, *, clock: Clock, progress: Progress) -> Outcome:
    """Take a model's retraining as far as it goes now.

    Raises
    ------
    ConfigError
        If the model's declaration cannot be used.
    RepoError, RowsNotConserved, PipelineError
        If features cannot be built or joined; the attempt stays open and the next run tries again.
    ReleaseError
        If no champion serves, another process retrains it, or a person decides where nothing waits.
    LogError, VerdictError
        If the prediction log or the verdict cannot be read.
    """
    spec = read_spec(workspace.model_file(model))
    with alone_with(workspace, model):
        run = _Run(workspace, spec, ask, clock, progress)
        run.advance()
        return run.record.outcome


class _Run:
    def __init__(
        self, workspace: Workspace, spec: ModelSpec, ask: Ask, clock: Clock, progress: Progress
    ) -> None:
        self.workspace, self.spec, self.ask, self.clock, self.progress = workspace, spec, ask, clock, progress
        self.model = spec.name
        self.record = Record(workspace, spec.name, clock)

    def advance(self) -> None:
        """Begin an attempt if something asks for one, and take the open one on step by step."""
        if not self.record.is_open:
            self._begin()
        while self.record.is_open and self._next():
            pass

    def _begin(self) -> None:
        if self.ask.approve or self.ask.refuse:
            raise ReleaseError(f"No new version of '{self.model}' waits for a decision.")
        champion = champion_of(self.workspace, self.model)
        self.progress("build what changed", 0, 0)
        build_features(self.workspace.repo)
        found = self._trigger(champion)
        if isinstance(found, No):
            return self.record.begin_nothing(found.why, asked=found.asked)
        split = new_split(self.spec, champion.manifest, now=self.record.now)
        if isinstance(split, No):
            return self.record.begin_nothing(split.why, asked=split.asked)
        evidence: dict[str, JsonValue] = {
            "trigger": found.kind,
            "found": dict(found.evidence),
            "cutoff": split.cutoff.isoformat(),
            "test_days": split.test_days,
            "version": next_version(self.workspace.releases / self.model),
            "champion": champion.manifest.version,
        }
        return self.record.begin(found.why, evidence)

    def _trigger(self, champion: Release) -> Trigger | No:
        if self.ask.reason:
            return Trigger("person", self.ask.reason)
        manifest, now = champion.manifest, self.record.now
        verdict = read_verdict(self.workspace, self.model)
        found: list[Trigger | No] = [
            of_verdict(verdict, manifest, self.spec, now=now),
            of_schedule(manifest, self.spec, now=now),
        ]
        if self.spec.retraining.new_answers:
            asked = read_examples(self.workspace, self.spec)
            found.append(of_new_answers(manifest, self.spec, asked, now=now))
        trigger = next((each for each in found if isinstance(each, Trigger)), None)
        if trigger is not None:
            return held_back(self.record.lines, self.spec, now=now) or trigger
        refusals = [each for each in found if isinstance(each, No)]
        return No("; ".join(no.why for no in refusals), asked=any(no.asked for no in refusals))

    def _next(self) -> bool:
        """Do the next step of the open attempt; tell whether another may follow at once."""
        match self.record.last.step:
            case Step.ASKED:
                self._train()
            case Step.TRAINED:
                self._shadow()
            case Step.SHADOWED:
                return self._settled() or self._compare()
            case _:
                return self._settled() or self._act_on_comparison()
        return True

    def _train(self) -> None:
        asked = self.record.attempt[0].evidence
        split = {
            "cutoff": datetime.fromisoformat(str(asked["cutoff"])),
            "test_days": int(str(asked["test_days"])),
        }
        time, version = self.spec.time.model_copy(update=split), str(asked["version"])
        try:
            release = self._trained_before(version, time) or self._train_anew(version, time)
        except ConfigError as error:
            return self.record.end(Step.REFUSED, f"it cannot be trained: {error}")
        manifest = release.manifest
        evidence: dict[str, JsonValue] = {
            "version": manifest.version,
            "digest": release.digest,
            "metrics": {name: found.model_dump() for name, found in manifest.metrics.items()},
            "gates": [gate.model_dump() for gate in manifest.gates],
        }
        why = f"trained on what was known by {manifest.cutoff:%Y-%m-%d}"
        return self.record.write(Step.TRAINED, why, evidence)

    def _trained_before(self, version: str, time: TimeSplit) -> Release | None:
        """Find the release of a run that was killed before it could write so down."""
        path = self.workspace.releases / self.model / version
        if not (path / MANIFEST).is_file():
            return None
        manifest = (release := read_release(path)).manifest
        begun = self.record.attempt[0].at
        return release if manifest.cutoff == time.cutoff and manifest.created_at >= begun else None

    def _train_anew(self, version: str, time: TimeSplit) -> Release:
        taken = (self.workspace.releases / self.model / version).exists()
        return train(
            self.workspace,
            self.model,
            clock=self.clock,
            version=None if taken else version,
            time=time,
            progress=self.progress,
        )

    def _shadow(self) -> None:
        version = self.record.version
        gates = read_release(self.workspace.releases / self.model / version).manifest.gates
        if failed := [f"{gate.gate} (it is {gate.value:.4g})" for gate in gates if not gate.passed]:
            return self.record.end(Step.REFUSED, f"it failed its gates: {'; '.join(failed)}")
        serving = what_serves(self.workspace, self.model)
        if role_of(serving, version) is None:
            why = f"retraining, attempt {self.record.last.attempt}"
            try:
                promote(self.workspace, self.model, version, role=Role.SHADOW, reason=why, clock=self.clock)
            except ReleaseError as error:
                return self.record.end(Step.REFUSED, f"it cannot serve as a shadow: {error}")
        return self.record.write(Step.SHADOWED, "it passed its gates", {"champion": serving.champion.version})

    def _settled(self) -> bool:
        """End the attempt if somebody settled it, here or elsewhere; tell whether it has ended."""
        role = role_of(what_serves(self.workspace, self.model), self.record.version)
        if role is Role.CHAMPION:
            self.record.end(Step.PROMOTED, "a person promoted it")
        elif role is not Role.SHADOW:
            self.record.end(Step.REFUSED, f"it serves as {role or 'nothing'} now: a person took it up")
        elif self.ask.refuse:
            self._withdraw(self.ask.refuse)
        elif self.ask.approve:
            self._promote(self.ask.approve)
        return not self.record.is_open

    def _compare(self) -> bool:
        shadowed = self.record.last
        champion = str(shadowed.evidence["champion"])
        if self._is_overtaken(champion):
            return False
        found = compare_answers(
            self.workspace,
            self.spec,
            champion=champion,
            shadow=self.record.version,
            since=shadowed.at,
            now=self.record.now,
        )
        if isinstance(found, Waiting):
            self._wait(found, since=shadowed.at)
            return False
        self._write_comparison(found, champion)
        return True

    def _is_overtaken(self, champion: str) -> bool:
        """End the attempt if another version than the one it is held against became champion."""
        now = what_serves(self.workspace, self.model).champion.version
        if now != champion:
            self._withdraw(f"version {now} became champion meanwhile")
        return now != champion

    def _wait(self, found: Waiting, *, since: datetime) -> None:
        rules, hours = self.spec.retraining, self.spec.monitoring.compare_block_hours
        if self.record.now - since > timedelta(days=rules.give_up_days):
            return self._withdraw(f"only {found.answers} labelled answers in {rules.give_up_days} days")
        return self.record.outcome.told.append(
            f"version {self.record.version} is in shadow since {since:%Y-%m-%d %H:%M}: {found.answers:,} of "
            f"{rules.shadow_answers:,} labelled answers, over {found.blocks} of {FEWEST_BLOCKS} "
            f"blocks of {hours} h"
        )

    def _write_comparison(self, found: Compared, champion: str) -> None:
        lead, by = found.lead, self.spec.retraining.by
        told = (
            f"{self.spec.metric} {lead.value:+.4g} ({lead.low:+.4g} to {lead.high:+.4g}) against version "
            f"{champion} on the same {found.answers:,} answers"
        )
        evidence: dict[str, JsonValue] = {
            "lead": {"value": lead.value, "low": lead.low, "high": lead.high},
            "answers": found.answers,
            "blocks": found.blocks,
            "until": found.until.isoformat(),
            "by": by,
            "not_worse": bool(lead.low >= -by),
            "champion": champion,
        }
        self.record.write(Step.COMPARED, told, evidence)

    def _act_on_comparison(self) -> bool:
        compared, rules = self.record.last, self.spec.retraining
        champion = str(compared.evidence["champion"])
        if self._is_overtaken(champion):
            return False
        if not compared.evidence["not_worse"]:
            self._withdraw(f"not surely at most {rules.by:g} worse: {compared.why}")
        elif rules.promotion == "policy":
            self._promote(f"policy: {compared.why}", instead_of=champion)
        else:
            self.record.outcome.told.append(
                f"version {self.record.version} waits for a person: {compared.why}. "
                f"`knownat retrain {self.model} --approve WHY`, or --refuse WHY"
            )
        return False

    def _promote(self, why: str, *, instead_of: str | None = None) -> None:
        model, version = self.model, self.record.version
        try:
            promote(self.workspace, model, version, reason=why, instead_of=instead_of, clock=self.clock)
        except ReleaseError as error:
            return self._withdraw(f"it cannot be promoted: {error}")
        return self.record.end(Step.PROMOTED, why)

    def _withdraw(self, why: str) -> None:
        withdraw_shadow(self.workspace, self.model, self.record.version, reason=why, when=self.record.now)
        self.record.end(Step.REFUSED, why)
