"""``reports/<model>/verdict.json``: what monitoring decided, for whoever acts on it.

It is the one thing that retraining knows of monitoring, read as data.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from knownat.contract.workspace import Workspace
from knownat.errors import VerdictError

VERDICT = "verdict.json"


class Action(StrEnum):
    """What a verdict asks for."""

    OK = "ok"
    WATCH = "watch"
    ALERT = "alert"
    RETRAIN = "retrain"

    @property
    def alarms(self) -> bool:
        """Whether somebody must act; a command that finds one exits with 1."""
        return self in {Action.ALERT, Action.RETRAIN}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FaultSeen(_Frozen):
    """One fault of a window: what kind, of which column or view, and whether it alarms."""

    kind: str
    subject: str
    alarming: bool


class Vote(_Frozen):
    """What one window says, as far as a verdict asks."""

    start: datetime
    end: datetime
    version: str
    level: Literal["ok", "watch", "alert"]
    reasons: tuple[str, ...]
    measured: bool
    """Whether its labels matured, and are enough to compare with the release."""
    fell: bool
    """Whether performance surely fell."""
    faults: tuple[FaultSeen, ...] = ()


class ModelVerdict(_Frozen):
    """What a model's newest windows ask for together, since when, why, and of whom."""

    format: Literal[1] = 1
    model: str
    version: str
    """The version that answered in the newest window."""
    action: Action
    since: datetime
    """End of the first window from which on it was this action without a break."""
    reasons: tuple[str, ...]
    owner: str
    runbook: str
    as_of: datetime
    """End of the newest window: all that was decided follows from windows until then."""
    judged_at: datetime
    votes: tuple[Vote, ...]
    """The windows that were looked at, oldest first."""


def verdict_file(workspace: Workspace, model: str) -> Path:
    """Where a model's verdict lies."""
    return workspace.reports / model / VERDICT


def read_verdict(workspace: Workspace, model: str) -> ModelVerdict | None:
    """Read a model's verdict; None if there is none yet.

    Raises
    ------
    VerdictError
        If the file is there but is no verdict.
    """
    path = verdict_file(workspace, model)
    try:
        return ModelVerdict.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        again = f"Run `knownat monitor {model}` to write it anew."
        raise VerdictError(f"{path} cannot be read as a verdict ({type(error).__name__}). {again}") from error


def judged_models(reports: Path) -> Iterator[str]:
    """Name the models that have a verdict, sorted."""
    return (path.parent.name for path in sorted(reports.glob(f"*/{VERDICT}")))
