"""``releases/retraining.jsonl``: every step of every retraining, appended and never changed.

One line a step: when, who, which model and attempt, what was done, why, and on what evidence. The file
is also what a run continues from: whatever was killed between two steps is taken up at the last line.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue

from knownat.contract.deployment import login
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError

FILE = "retraining.jsonl"


class Step(StrEnum):
    """What a line says was done."""

    ASKED = "asked"
    TRAINED = "trained"
    SHADOWED = "shadowed"
    COMPARED = "compared"
    PROMOTED = "promoted"
    REFUSED = "refused"
    """The attempt is over without a promotion; or, without an attempt, none was begun though asked for."""


ENDS = frozenset({Step.PROMOTED, Step.REFUSED})


@dataclass(frozen=True)
class Line:
    """One line of the file."""

    at: datetime
    who: str
    model: str
    attempt: int
    """Counted by model from 1; 0 for a refusal to begin one."""
    step: Step
    why: str
    evidence: Mapping[str, JsonValue] = field(default_factory=dict)

    def as_json(self) -> dict[str, JsonValue]:
        """Lay the line out as it is written."""
        return {**vars(self), "at": self.at.isoformat(), "step": self.step.value}


def append(
    workspace: Workspace,
    model: str,
    attempt: int,
    step: Step,
    *,
    at: datetime,
    why: str,
    evidence: Mapping[str, JsonValue] | None = None,
) -> Line:
    """Write a step down, durably, before the next one is begun. Half a line of a killed run is dropped."""
    line = Line(at, login(), model, attempt, step, why, dict(evidence or {}))
    path = workspace.releases / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        content = path.read_bytes()
        os.ftruncate(descriptor, content.rfind(b"\n") + 1)
        os.write(descriptor, (json.dumps(line.as_json(), sort_keys=True) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return line


def read_lines(workspace: Workspace, model: str) -> list[Line]:
    """Read a model's steps, oldest first; half a line at the end is none.

    Raises
    ------
    ReleaseError
        If a whole line cannot be read: somebody changed the file.
    """
    path = workspace.releases / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1].splitlines()
    try:
        lines = [_line(json.loads(each)) for each in whole]
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{path} was changed: a line cannot be read ({error}). Restore it.") from error
    return [line for line in lines if line.model == model]


def last_attempt(lines: Sequence[Line]) -> list[Line]:
    """Keep the lines of the newest attempt; none if there never was one."""
    number = max((line.attempt for line in lines), default=0)
    return [line for line in lines if number and line.attempt == number]


@contextmanager
def alone_with(workspace: Workspace, model: str) -> Iterator[None]:
    """Hold every other retraining of a model off.

    Raises
    ------
    ReleaseError
        If one runs already.
    """
    workspace.releases.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(workspace.releases / f".retraining.{model}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ReleaseError(f"'{model}' is being retrained by another process; nothing was done.") from error
    finally:
        os.close(descriptor)


def _line(table: Mapping[str, object]) -> Line:
    evidence = table["evidence"]
    if not isinstance(evidence, dict):
        raise TypeError("evidence is no table")
    return Line(
        at=datetime.fromisoformat(str(table["at"])),
        who=str(table["who"]),
        model=str(table["model"]),
        attempt=int(str(table["attempt"])),
        step=Step(str(table["step"])),
        why=str(table["why"]),
        evidence=evidence,
    )
