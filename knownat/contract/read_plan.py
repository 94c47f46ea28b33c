"""How the features of one release are read online: which keys, views, columns and ttl.

The plan is compiled from a feature service when a release is built and travels with it, so the
scorer asks no registry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from knownat.errors import BadKey

KeyDtype = Literal["string", "int64"]
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_KEY_BYTES = 1_024


class Status(StrEnum):
    """What became of one view's row in one answer."""

    PRESENT = "present"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    UNAVAILABLE = "unavailable"
    NOT_YET = "not_yet"
    """The row became known after the question's time, as when the reader's clock is behind the store's:
    a value from the future is not served, and the row before it is gone."""
    LAST_KNOWN = "last_known"
    """The store could not be asked; this is the row it gave before, and its ttl still holds."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlanKey(_Frozen):
    """A join key: its name in the view, its name in the request, and its type."""

    view_key: str
    request_key: str
    dtype: KeyDtype


class PlanFeature(_Frozen):
    """One stored value: its name inside the view and its Arrow type name."""

    name: str
    dtype: str


class PlanView(_Frozen):
    """One feature view as it is read: keys, ttl in microseconds (0 = none), features in order."""

    name: str
    keys: tuple[PlanKey, ...]
    ttl_us: int
    features: tuple[PlanFeature, ...]
    view: str = ""
    """The view whose rows these are, where the service calls it by another name."""

    @property
    def stored_view(self) -> str:
        """The name under which its rows are stored."""
        return self.view or self.name

    def column(self, feature: str) -> str:
        """The full name of one of its features, as everywhere outside Feast's definitions."""
        return f"{self.name}__{feature}"


class PlanTransform(_Frozen):
    """One on-demand view: its pinned source file, inputs by full or request name, outputs."""

    name: str
    file: str
    function: str
    inputs: Mapping[str, str]
    """Argument of the function's mapping -> column (``view__feature`` or a request input)."""
    outputs: tuple[PlanFeature, ...]

    def column(self, feature: str) -> str:
        """The full name of one of its outputs."""
        return f"{self.name}__{feature}"


class ReadPlan(_Frozen):
    """Everything the scorer needs to turn request keys into the model's columns."""

    format: Literal[1] = 1
    project: str
    feature_service: str
    views: tuple[PlanView, ...]
    transforms: tuple[PlanTransform, ...] = ()
    request_inputs: tuple[PlanFeature, ...] = ()
    question_time_input: str | None = None
    """Request input that the scorer fills from its clock, in microseconds; clients never send it."""
    nullable_inputs: tuple[str, ...] = ()
    """Request inputs that held a null in training; a null of any other is refused online."""
    output_columns: tuple[str, ...]
    """Every column the feature service promises, in its order."""
    classes: int = 0
    """How many classes a multiclass model tells apart; an answer has a share of each. 0 for other models."""

    @property
    def request_keys(self) -> dict[str, KeyDtype]:
        """Every key a request must carry, with its type, in order of first use."""
        return {key.request_key: key.dtype for view in self.views for key in view.keys}

    @property
    def client_inputs(self) -> dict[str, str]:
        """Every input a client must send, with its Arrow type name."""
        return {i.name: i.dtype for i in self.request_inputs if i.name != self.question_time_input}


@dataclass(frozen=True)
class ReadResult:
    """What one read of n rows returned; every list has length n."""

    values: dict[str, list[object]]
    event_us: dict[str, list[int | None]]
    created_us: dict[str, list[int | None]]
    status: dict[str, list[Status]]


class FeatureReader(Protocol):
    """Where a scorer gets stored features from."""

    def read(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read each view's row of n entities, ttl measured at ``now_us``."""
        ...


def check_key(name: str, dtype: KeyDtype, value: object) -> str | int | None:
    """Return the key as it is, or refuse it; a key is never coerced into another entity's.

    A null key is an answer, not a mistake: offline it matches nothing, so online it is not found.

    Raises
    ------
    BadKey
        If the value is of another type, out of range, or text with a NUL or over 1 KiB.
    """
    if value is None:
        return None
    if dtype == "int64":
        if type(value) is not int or not _INT64_MIN <= value <= _INT64_MAX:
            raise BadKey(f"Key '{name}' must be a 64-bit integer.")
        return value
    if type(value) is not str:
        raise BadKey(f"Key '{name}' must be text.")
    try:
        encoded = value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadKey(f"Key '{name}' is not valid Unicode text.") from error
    if not encoded or len(encoded) > _KEY_BYTES or b"\0" in encoded:
        raise BadKey(f"Key '{name}' must be 1 to {_KEY_BYTES} bytes of text without NUL.")
    return value


def check_keys(plan: ReadPlan, keys: Mapping[str, Sequence[object]]) -> dict[str, list[str | int | None]]:
    """Check the keys of n rows against the plan before anything is read.

    Raises
    ------
    BadKey
        If a key is missing, not known, of unequal length, or has a value of the wrong type.
    """
    wanted = plan.request_keys
    if missing := [name for name in wanted if name not in keys]:
        raise BadKey(f"Keys {missing} are missing; the request needs {list(wanted)}.")
    if extra := [name for name in keys if name not in wanted]:
        raise BadKey(f"{len(extra)} unknown key(s); the request needs {list(wanted)}.")
    if len({len(column) for column in keys.values()}) > 1:
        raise BadKey("Every key must have the same number of rows.")
    return {name: [check_key(name, dtype, v) for v in keys[name]] for name, dtype in wanted.items()}
