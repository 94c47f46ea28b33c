"""A model's retraining as far as it is written down: what a run reads first, and adds each step to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from knownat.clock import Clock, from_us
from knownat.contract.workspace import Workspace
from training.audit import ENDS, Line, Step, append, last_attempt, read_lines


@dataclass
class Outcome:
    """What a run did, in words, and whether a gate, a comparison or a rule spoke against it."""

    model: str
    told: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    refused: bool = False


class Record:
    """The lines of one model, the newest attempt among them, and what this run has added."""

    def __init__(self, workspace: Workspace, model: str, clock: Clock) -> None:
        self._workspace, self._model, self._clock = workspace, model, clock
        self.lines = read_lines(workspace, model)
        self.outcome = Outcome(model)

    @property
    def now(self) -> datetime:
        """The time of this run's clock."""
        return from_us(self._clock.now_us())

    @property
    def attempt(self) -> list[Line]:
        """The steps of the newest attempt, oldest first."""
        return last_attempt(self.lines)

    @property
    def last(self) -> Line:
        """The newest step of the newest attempt."""
        return self.attempt[-1]

    @property
    def is_open(self) -> bool:
        """Whether there is an attempt that has not ended."""
        return bool(self.attempt) and self.last.step not in ENDS

    @property
    def version(self) -> str:
        """The version that the newest attempt trained."""
        trained = next(line for line in self.attempt if line.step is Step.TRAINED)
        return str(trained.evidence["version"])

    def begin(self, why: str, evidence: Mapping[str, JsonValue]) -> None:
        """Open the next attempt."""
        number = max((line.attempt for line in self.lines), default=0) + 1
        self._append(number, Step.ASKED, why, evidence)

    def write(self, step: Step, why: str, evidence: Mapping[str, JsonValue]) -> None:
        """Add a step to the open attempt."""
        self._append(self.attempt[0].attempt, step, why, evidence)

    def end(self, step: Step, why: str) -> None:
        """Close the open attempt with a promotion or a refusal."""
        trained = any(line.step is Step.TRAINED for line in self.attempt)
        self.write(step, why, {"version": self.version} if trained else {})
        self.outcome.refused = step is Step.REFUSED

    def begin_nothing(self, why: str, *, asked: bool) -> None:
        """Tell why no attempt is opened; on record, once, where something had asked for one."""
        self.outcome.told.append(f"nothing is trained: {why}")
        self.outcome.refused = asked
        repeated = bool(self.lines) and self.lines[-1].why == why
        if asked and not repeated:
            self._append(0, Step.REFUSED, why, {})

    def _append(self, attempt: int, step: Step, why: str, evidence: Mapping[str, JsonValue]) -> None:
        line = append(self._workspace, self._model, attempt, step, at=self.now, why=why, evidence=evidence)
        self.lines.append(line)
        self.outcome.lines.append(line)
        if attempt:
            self.outcome.told.append(f"{step.value}: {why}")
