"""Retraining: new cutoff, train, gates, shadow, comparison, promotion; each step written down first.

A run takes up the newest attempt where its last line says it stands, so that it can run from cron, be
killed anywhere, and run again: it comes to the same end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import JsonValue

from knownat.clock import Clock, from_us
from knownat.contract.deployment import change_deployment, retire_version
from knownat.contract.model_spec import ModelSpec, TimeSplit, read_spec
from knownat.contract.prediction_log import Role
from knownat.contract.release import MANIFEST, ModelDeployment, Release, read_deployment, read_release
from knownat.contract.verdict import read_verdict
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, ReleaseError
from knownat.stores.pipelines import build_features
from training.audit import ENDS, Line, Step, alone_with, append, last_attempt, read_lines
from training.examples import read_examples
from training.pipeline import Progress, train
from training.promotion import promote
from training.publishing import next_version
from training.shadowed import FEWEST_BLOCKS, Waiting, compare_answers
from training.triggers import No, Trigger, held_back, new_split, of_new_answers, of_schedule, of_verdict


@dataclass(frozen=True)
class Ask:
    """What a person said: train now and why, or what to do with the version in shadow and why."""

    reason: str | None = None
    approve: str | None = None
    refuse: str | None = None


@dataclass
class Outcome:
    """What a run did, in words, and whether a gate, a comparison or a rule spoke against it."""

    model: str
    told: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    refused: bool = False


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
        return run.outcome


class _Run:
    def __init__(
        self, workspace: Workspace, spec: ModelSpec, ask: Ask, clock: Clock, progress: Progress
    ) -> None:
        self.workspace, self.spec, self.ask, self.clock, self.progress = workspace, spec, ask, clock, progress
        self.outcome = Outcome(spec.name)
        self.lines = read_lines(workspace, spec.name)

    @property
    def now(self) -> datetime:
        return from_us(self.clock.now_us())

    @property
    def attempt(self) -> list[Line]:
        return last_attempt(self.lines)

    @property
    def is_open(self) -> bool:
        return bool(self.attempt) and self.attempt[-1].step not in ENDS

    def advance(self) -> None:
        """Begin an attempt if something asks for one, and take the open one on step by step."""
        if not self.is_open and not self._begin():
            return
        while self.is_open and self._next():
            pass

    def _begin(self) -> bool:
        if self.ask.approve or self.ask.refuse:
            raise ReleaseError(f"No new version of '{self.spec.name}' waits for a decision.")
        champion = self._champion()
        self.progress("build what changed", 0, 0)
        build_features(self.workspace.repo)
        found = self._trigger(champion)
        split = new_split(self.spec, champion.manifest, now=self.now) if isinstance(found, Trigger) else None
        if isinstance(found, No):
            return self._not_begun(found)
        if not isinstance(split, TimeSplit):
            return self._not_begun(split or No("it has no time split"))
        folder = self.workspace.releases / self.spec.name
        evidence: dict[str, JsonValue] = {
            "trigger": found.kind,
            "found": dict(found.evidence),
            "cutoff": split.cutoff.isoformat(),
            "test_days": split.test_days,
            "version": next_version(folder),
            "champion": champion.manifest.version,
        }
        number = max((line.attempt for line in self.lines), default=0) + 1
        self._write(Step.ASKED, found.why, evidence, attempt=number)
        return True

    def _trigger(self, champion: Release) -> Trigger | No:
        if self.ask.reason:
            return Trigger("person", self.ask.reason)
        manifest, now = champion.manifest, self.now
        verdict = read_verdict(self.workspace, self.spec.name)
        found: list[Trigger | No] = [
            of_verdict(verdict, manifest, self.spec, now=now),
            of_schedule(manifest, self.spec, now=now),
        ]
        if self.spec.retraining.new_answers:
            asked = read_examples(self.workspace, self.spec)
            found.append(of_new_answers(manifest, self.spec, asked, now=now))
        trigger = next((each for each in found if isinstance(each, Trigger)), None)
        if trigger is not None:
            return held_back(self.lines, self.spec, now=now) or trigger
        refusals = [each for each in found if isinstance(each, No)]
        return No("; ".join(no.why for no in refusals), asked=any(no.asked for no in refusals))

    def _not_begun(self, no: No) -> bool:
        self.outcome.told.append(f"nothing is trained: {no.why}")
        self.outcome.refused = no.asked
        repeated = self.lines and self.lines[-1].why == no.why
        if no.asked and not repeated:
            self._write(Step.REFUSED, no.why, {}, attempt=0)
        return False

    def _next(self) -> bool:
        """Do the next step of the open attempt; tell whether another may follow at once."""
        match self.attempt[-1].step:
            case Step.ASKED:
                return self._train()
            case Step.TRAINED:
                return self._shadow()
            case Step.SHADOWED:
                return self._decide()
            case _:
                return self._act_on_comparison()

    def _train(self) -> bool:
        asked = self.attempt[0].evidence
        time = self.spec.time.model_copy(
            update={
                "cutoff": datetime.fromisoformat(str(asked["cutoff"])),
                "test_days": int(str(asked["test_days"])),
            }
        )
        try:
            release = self._trained_before(str(asked["version"]), time) or self._train_anew(
                str(asked["version"]), time
            )
        except ConfigError as error:
            return self._end(Step.REFUSED, f"it cannot be trained: {error}")
        manifest = release.manifest
        failed = [f"{gate.gate} (it is {gate.value:.4g})" for gate in manifest.gates if not gate.passed]
        evidence: dict[str, JsonValue] = {
            "version": manifest.version,
            "digest": release.digest,
            "metrics": {name: found.model_dump() for name, found in manifest.metrics.items()},
            "gates": [gate.model_dump() for gate in manifest.gates],
        }
        why = f"trained on what was known by {manifest.cutoff:%Y-%m-%d}"
        self._write(Step.TRAINED, why, evidence)
        return self._end(Step.REFUSED, f"it failed its gates: {'; '.join(failed)}") if failed else True

    def _trained_before(self, version: str, time: TimeSplit) -> Release | None:
        """Find the release of a run that was killed before it could write so down."""
        path = self.workspace.releases / self.spec.name / version
        if not (path / MANIFEST).is_file():
            return None
        release = read_release(path)
        ours = release.manifest.cutoff == time.cutoff and release.manifest.created_at >= self.attempt[0].at
        return release if ours else None

    def _train_anew(self, version: str, time: TimeSplit) -> Release:
        folder = self.workspace.releases / self.spec.name
        free = version if not (folder / version).exists() else None
        return train(
            self.workspace,
            self.spec.name,
            clock=self.clock,
            version=free,
            time=time,
            progress=self.progress,
        )

    def _shadow(self) -> bool:
        version, failed = self._version, self._failed_gates
        if failed:
            # Killed between two lines.
            return self._end(Step.REFUSED, f"it failed its gates: {'; '.join(failed)}")
        serving = self._serving()
        if self._role(serving, version) is None:
            try:
                why = f"retraining, attempt {self.attempt[0].attempt}"
                promote(
                    self.workspace, self.spec.name, version, role=Role.SHADOW, reason=why, clock=self.clock
                )
            except ReleaseError as error:
                return self._end(Step.REFUSED, f"it cannot serve as a shadow: {error}")
        self._write(Step.SHADOWED, "it passed its gates", {"champion": serving.champion.version})
        return True

    def _settled(self) -> bool:
        """End the attempt if somebody settled it, here or elsewhere; tell whether it has ended."""
        role = self._role(self._serving(), self._version)
        if role is Role.CHAMPION:
            self._end(Step.PROMOTED, "a person promoted it")
        elif role is not Role.SHADOW:
            self._end(Step.REFUSED, f"it serves as {role or 'nothing'} now: a person took it up")
        elif self.ask.refuse:
            self._withdraw(self.ask.refuse)
        elif self.ask.approve:
            self._promote(self.ask.approve)
        return not self.is_open

    def _decide(self) -> bool:
        """See what became of the shadow, what a person says, and what the answers say."""
        if self._settled():
            return False
        serving = self._serving()
        if serving.champion.version != self.attempt[-1].evidence["champion"]:
            return self._withdraw(f"version {serving.champion.version} became champion meanwhile")
        return self._compare(self._version, serving)

    def _compare(self, version: str, serving: ModelDeployment) -> bool:
        since, rules = self.attempt[-1].at, self.spec.retraining
        found = compare_answers(
            self.workspace,
            self.spec,
            champion=serving.champion.version,
            shadow=version,
            since=since,
            now=self.now,
        )
        if isinstance(found, Waiting):
            if self.now - since > timedelta(days=rules.give_up_days):
                return self._withdraw(f"only {found.answers} labelled answers in {rules.give_up_days} days")
            hours = self.spec.monitoring.compare_block_hours
            self.outcome.told.append(
                f"version {version} is in shadow since {since:%Y-%m-%d %H:%M}: {found.answers:,} of "
                f"{rules.shadow_answers:,} labelled answers, over {found.blocks} of {FEWEST_BLOCKS} "
                f"blocks of {hours} h"
            )
            return False
        lead = found.lead
        told = (
            f"{self.spec.metric} {lead.value:+.4g} ({lead.low:+.4g} to {lead.high:+.4g}) against version "
            f"{serving.champion.version} on the same {found.answers:,} answers"
        )
        evidence: dict[str, JsonValue] = {
            "lead": {"value": lead.value, "low": lead.low, "high": lead.high},
            "answers": found.answers,
            "blocks": found.blocks,
            "until": found.until.isoformat(),
            "by": rules.by,
            "not_worse": bool(lead.low >= -rules.by),
            "champion": serving.champion.version,
        }
        self._write(Step.COMPARED, told, evidence)
        return True

    def _act_on_comparison(self) -> bool:
        if self._settled():
            return False
        compared = self.attempt[-1]
        if not compared.evidence["not_worse"]:
            return self._withdraw(f"not surely at most {self.spec.retraining.by:g} worse: {compared.why}")
        if self.spec.retraining.promotion == "policy":
            return self._promote(f"policy: {compared.why}")
        self.outcome.told.append(
            f"version {self._version} waits for a person: {compared.why}. "
            f"`knownat retrain {self.spec.name} --approve WHY`, or --refuse WHY"
        )
        return False

    def _promote(self, why: str) -> bool:
        try:
            promote(self.workspace, self.spec.name, self._version, reason=why, clock=self.clock)
        except ReleaseError as error:
            return self._withdraw(f"it cannot be promoted: {error}")
        return self._end(Step.PROMOTED, why)

    def _withdraw(self, why: str) -> bool:
        version, model = self._version, self.spec.name
        if self._role(self._serving(), version) is Role.SHADOW:
            entry: Mapping[str, JsonValue] = {
                "at": self.now.isoformat(),
                "model": model,
                "version": version,
                "role": "retired",
                "reason": why,
            }
            change_deployment(self.workspace, lambda before: retire_version(before, model, version), entry)
        return self._end(Step.REFUSED, why)

    @property
    def _version(self) -> str:
        trained = next(line for line in self.attempt if line.step is Step.TRAINED)
        return str(trained.evidence["version"])

    @property
    def _failed_gates(self) -> list[str]:
        release = read_release(self.workspace.releases / self.spec.name / self._version)
        return [gate.gate for gate in release.manifest.gates if not gate.passed]

    def _champion(self) -> Release:
        deployed = self._serving().champion
        path = self.workspace.releases / self.spec.name / deployed.version
        return read_release(path, digest=deployed.digest)

    def _serving(self) -> ModelDeployment:
        found = read_deployment(self.workspace.deployment).models.get(self.spec.name)
        if found is None:
            raise ReleaseError(
                f"No version of '{self.spec.name}' serves, so there is none to stand beside. "
                f"Run `knownat train {self.spec.name}`."
            )
        return found

    @staticmethod
    def _role(serving: ModelDeployment, version: str) -> Role | None:
        if serving.champion.version == version:
            return Role.CHAMPION
        if version in {deployed.version for deployed in serving.shadow}:
            return Role.SHADOW
        if serving.challenger is not None and serving.challenger.version == version:
            return Role.CHALLENGER
        return Role.PINNED if version in {deployed.version for deployed in serving.pinned} else None

    def _write(
        self, step: Step, why: str, evidence: Mapping[str, JsonValue], *, attempt: int | None = None
    ) -> None:
        number = self.attempt[0].attempt if attempt is None else attempt
        line = append(self.workspace, self.spec.name, number, step, at=self.now, why=why, evidence=evidence)
        self.lines.append(line)
        self.outcome.lines.append(line)
        if number:
            self.outcome.told.append(f"{step.value}: {why}")

    def _end(self, step: Step, why: str) -> bool:
        self._write(step, why, {"version": self._version} if self._has_version else {})
        self.outcome.refused = step is Step.REFUSED
        return False

    @property
    def _has_version(self) -> bool:
        return any(line.step is Step.TRAINED for line in self.attempt)
