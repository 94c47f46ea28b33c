"""Why a model should be trained again, or why not: a verdict, a schedule, new answers, or a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from knownat.contract.model_spec import ModelSpec, TimeSplit
from knownat.contract.release import Manifest
from knownat.contract.verdict import Action, ModelVerdict
from training.audit import ENDS, Line, Step
from training.examples import LABEL, LABEL_TIMESTAMP

_FRESH_WINDOWS = 3


@dataclass(frozen=True)
class Trigger:
    """What asks for a new model, with what it was seen by."""

    kind: str
    why: str
    evidence: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class No:
    """Why nothing is trained; ``asked`` if something did ask for it."""

    why: str
    asked: bool = False


def of_verdict(
    verdict: ModelVerdict | None, champion: Manifest, spec: ModelSpec, *, now: datetime
) -> Trigger | No:
    """Follow a verdict that asks for retraining, if it is of today and of the version that serves."""
    if verdict is None:
        return No("there is no verdict; run `knownat monitor`")
    if verdict.action is not Action.RETRAIN:
        return No(f"the verdict is {verdict.action.value}")
    said = f"the verdict asks for it since {verdict.since:%Y-%m-%d %H:%M}"
    if verdict.version != champion.version:
        return No(f"{said}, but of version {verdict.version}; {champion.version} serves", asked=True)
    age = now - verdict.judged_at
    if age > timedelta(hours=_FRESH_WINDOWS * spec.monitoring.window_hours):
        return No(f"{said}, but was made {_days(age)} ago; run `knownat monitor` first", asked=True)
    return Trigger("verdict", f"{said}: {'; '.join(verdict.reasons)}", verdict.model_dump(mode="json"))


def of_schedule(champion: Manifest, spec: ModelSpec, *, now: datetime) -> Trigger | No:
    """Follow the declared schedule: the champion knows nothing that came after its cutoff."""
    every, age = spec.retraining.every_days, now - champion.cutoff
    if not every:
        return No("no schedule is declared")
    known = f"version {champion.version} knows nothing of the last {_days(age)}"
    if age < timedelta(days=every):
        return No(f"{known}; every {every} days are declared")
    return Trigger("schedule", f"{known}; every {every} days are declared", {"every_days": every})


def of_new_answers(champion: Manifest, spec: ModelSpec, asked: pa.Table, *, now: datetime) -> Trigger | No:
    """Follow the declared number of answers that came since the champion's cutoff, known by now."""
    wanted = spec.retraining.new_answers
    if not wanted:
        return No("no number of new answers is declared")
    known_at = asked.filter(pc.is_valid(asked[LABEL]))[LABEL_TIMESTAMP]
    bounds = [pa.scalar(when, known_at.type) for when in (champion.cutoff, now)]
    new = pc.sum(pc.and_(pc.greater(known_at, bounds[0]), pc.less_equal(known_at, bounds[1]))).as_py() or 0
    told = f"{new:,} answers came since {champion.cutoff:%Y-%m-%d}; {wanted:,} are declared"
    return Trigger("new answers", told, {"new_answers": new}) if new >= wanted else No(told)


def held_back(lines: Sequence[Line], spec: ModelSpec, *, now: datetime) -> No | None:
    """Tell why nothing is begun though something asks: an attempt ended only just now.

    The same data would be refused for the same reason; a person may insist.
    """
    ended = [line for line in lines if line.attempt and line.step in ENDS]
    if not ended:
        return None
    until = ended[-1].at + timedelta(hours=spec.monitoring.verdict.cooldown_hours)
    if now >= until:
        return None
    how = "was promoted" if ended[-1].step is Step.PROMOTED else f"was refused ({ended[-1].why})"
    return No(
        f"attempt {ended[-1].attempt} {how} at {ended[-1].at:%Y-%m-%d %H:%M}; the next one may begin at "
        f"{until:%Y-%m-%d %H:%M}, or at once with --reason",
        asked=True,
    )


def new_split(spec: ModelSpec, champion: Manifest, *, now: datetime) -> TimeSplit | No:
    """Move the cutoff as far as every test question's answer is known: whole days from the declared one.

    The declared time of day stays, since days begin where the model's users are.
    """
    declared, day = spec.time, timedelta(days=1)
    test_days = spec.retraining.test_days or declared.test_days
    latest = now - declared.gap - timedelta(days=test_days)
    cutoff = declared.cutoff + (latest - declared.cutoff) // day * day
    if cutoff <= champion.cutoff:
        return No(
            f"the newest cutoff with {test_days} days of answered questions after it is {cutoff:%Y-%m-%d}, "
            f"and version {champion.version} knows all until {champion.cutoff:%Y-%m-%d}",
            asked=True,
        )
    return declared.model_copy(update={"cutoff": cutoff, "test_days": test_days})


def _days(age: timedelta) -> str:
    return f"{age / timedelta(days=1):.1f} days"
