"""Rules of the verdict, of its webhook and of retraining: policy, in a model's TOML beside its thresholds.

Each rule that contradicts another one is named where it stands, so that all problems of a file are
told at once.
"""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

CurableFault = Literal[
    "new_categories", "new_column", "constant", "all_null", "more_nulls", "out_of_range", "unit_changed"
]
"""Faults that a new model gets over, where the change behind them was meant and lasts."""

CURABLE: tuple[str, ...] = get_args(CurableFault)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class VerdictRules(_Section):
    """How many of the newest windows make a verdict; see ``monitoring.policy``.

    Performance counts in windows whose labels have matured, faults in the newest ones. What share of
    the features drifted is no rule, and there is none for it.
    """

    windows: Annotated[int, Field(ge=1, le=60)] = 4
    """How many of the newest windows are looked at."""
    fault_windows: Annotated[int, Field(ge=1)] = 1
    """So many of them with an alarming fault make an alert."""
    fall_windows: Annotated[int, Field(ge=1)] = 1
    """So many of them in which performance surely fell make an alert."""
    retrain_windows: Annotated[int, Field(ge=1)] = 2
    """So many of them ask for retraining: performance surely fell and no fault stood beside it."""
    retrain_faults: tuple[CurableFault, ...] = Field(default=("new_categories",), strict=False)
    """Faults that ask for retraining once they have lasted for ``retrain_windows``."""
    cooldown_hours: Annotated[int, Field(ge=0, le=24 * 365)] = 168
    """How long after a release was made no other is asked for."""

    @field_validator("fault_windows", "fall_windows", "retrain_windows")
    @classmethod
    def _can_be_reached(cls, value: int, info: ValidationInfo) -> int:
        windows = info.data.get("windows")
        if windows is not None and value > windows:
            raise ValueError(f"{value} of {windows} windows can never be reached; it is at most windows")
        return value

    @field_validator("retrain_windows")
    @classmethod
    def _an_alert_comes_first(cls, value: int, info: ValidationInfo) -> int:
        falls = info.data.get("fall_windows")
        if falls is not None and value < falls:
            raise ValueError(f"{value} is fewer than fall_windows ({falls}), which then never makes an alert")
        return value

    @field_validator("retrain_faults")
    @classmethod
    def _named_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({name for name in value if value.count(name) > 1}):
            raise ValueError(f"{twice} are named twice")
        return value


class Webhook(_Section):
    """Where verdicts are told, beside the files they are written to."""

    url: Annotated[str, Field(pattern=r"^(https?://[^/\s]+\S*|env:[A-Za-z_][A-Za-z0-9_]*)$")]
    """An address, or ``env:NAME`` of a variable that holds it, since such addresses are often secrets."""
    shape: Literal["alertmanager", "slack"]
    deadline_s: Annotated[float, Field(gt=0, le=300, strict=False)] = 10.0
    """How long all attempts together may take."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 4
    remind_hours: Annotated[int, Field(ge=1, le=24 * 90)] = 24
    """How long the same verdict is not told again; Alertmanager is told at each run, and thins out itself."""
    reports_url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """Where the reports are published; a message links to them."""


class Retraining(_Section):
    """When ``knownat retrain`` trains a model again, and what may let the new one serve."""

    every_days: Annotated[int, Field(ge=0, le=3650)] = 0
    """Train again when the champion's cutoff is older than this; 0 for never."""
    new_answers: Annotated[int, Field(ge=0)] = 0
    """Train again when so many questions were answered since the champion's cutoff; 0 for never."""
    test_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """Length of a new cutoff's test window, the declared one by default; a shorter one trains on more."""
    promotion: Literal["person", "policy"] = "person"
    """Who decides once the shadow's answers are there: a person, or the comparison on the same rows."""
    shadow_answers: Annotated[int, Field(ge=50)] = 500
    """On how many labelled answers champion and shadow are compared, once."""
    by: Annotated[float, Field(ge=0, strict=False)] = 0.01
    """By how much the new model may be worse in the metric, with 95 % certainty, and still be let in."""
    give_up_days: Annotated[int, Field(ge=1, le=365)] = 60
    """How long a shadow may wait for its answers."""
