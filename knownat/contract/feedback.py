"""A bundle: one prediction that somebody found odd, whole enough to be made again.

``feedback/<model>/<id>.json`` holds the comment, the row of the prediction log (keys, inputs, every
feature as fed, each view's times and status, the score) and which code and release made it. One file,
written aside and linked into place: it is there whole or not at all, and it never changes.
"""

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2s
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knownat.contract.prediction_log import Role
from knownat.contract.read_plan import Status
from knownat.errors import LogError

FeedbackId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Value = float | int | bool | str | None
"""A value as it was logged; a number that JSON does not have is its name, such as ``"NaN"``."""

_ID_BYTES = 8
_FRACTIONS = frozenset({"float64", "float32"})


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class ServedView(_Frozen):
    """What became of one view's row, which row it was, and how old at the question."""

    status: Status
    event_timestamp: datetime | None
    created_timestamp: datetime | None
    age_seconds: float | None


class MadeBy(_Frozen):
    """The code and the release that made a prediction."""

    knownat: str
    digest: str | None = None
    """Of the release's manifest; none where the release was not there any more."""
    feature_service: str | None = None
    lightgbm: str | None = None
    code_commit: str | None = None


class Bundle(_Frozen):
    """One prediction, and what somebody says of it."""

    format: Literal[1] = 1
    feedback_id: FeedbackId
    comment: str
    posted_at: datetime
    prediction_id: str
    request_id: str
    model: str
    version: str
    role: Role
    event_timestamp: datetime
    logged_at: datetime
    keys: Mapping[str, Value]
    inputs: Mapping[str, Value]
    features: Mapping[str, Value]
    """Stored values and what on-demand views made, by full name."""
    views: Mapping[str, ServedView]
    degraded: bool
    score: float
    made_by: MadeBy


def feedback_id_of(prediction_id: str, comment: str) -> str:
    """Name a comment on a prediction; saying the same twice is one bundle."""
    return blake2s(f"{prediction_id}\0{comment}".encode(), digest_size=_ID_BYTES).hexdigest()


def make_bundle(row: Mapping[str, object], *, comment: str, posted_at: datetime, made_by: MadeBy) -> Bundle:
    """Make a bundle of a row of the prediction log."""
    served = [found[1] for name in row if (found := _SERVED_STATUS.fullmatch(name)) is not None]
    fed = {name: value for name, value in row.items() if "__" in name and not name.startswith(_PREFIXES)}
    return Bundle.model_validate(
        {
            **{name: row[name] for name in _SAME},
            "feedback_id": feedback_id_of(str(row["prediction_id"]), comment),
            "comment": comment,
            "posted_at": posted_at,
            "keys": _without("key__", row),
            "inputs": _without("input__", row),
            "features": fed,
            "views": {view: _view(row, f"served__{view}") for view in served},
            "made_by": made_by,
        }
    )


def as_logged(value: Value, dtype: str) -> object:
    """Return a bundle's value as it was logged, by its Arrow type: a number that JSON lacks is one again."""
    return float(value) if dtype in _FRACTIONS and value is not None else value


def keep_bundle(root: Path, bundle: Bundle) -> bool:
    """Write a bundle durably; return False if it was there already.

    Raises
    ------
    OSError
        If the disk does not take it; nothing of it stays.
    """
    folder = root / bundle.model
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{bundle.feedback_id}.{secrets.token_hex(4)}"
    # What people say of themselves is nobody else's business.
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(bundle.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a rename would replace.
        _path(folder, bundle.feedback_id).hardlink_to(staged)
    except FileExistsError:
        return False
    finally:
        staged.unlink(missing_ok=True)
    _fsync(folder)
    return True


def list_bundles(root: Path, model: str | None = None) -> Iterator[Bundle]:
    """Read every bundle, of one model or of all, the oldest first.

    Raises
    ------
    LogError
        If one cannot be read.
    """
    found = [_read(path) for path in root.glob(f"{model or '*'}/*.json")]
    yield from sorted(found, key=lambda bundle: (bundle.posted_at, bundle.feedback_id))


def read_bundle(root: Path, feedback_id: str) -> Bundle:
    """Read one bundle by its id, or by the start of it if no other begins so.

    Raises
    ------
    LogError
        If there is none, there are several, or it cannot be read.
    """
    found = [path for path in sorted(root.glob("*/*.json")) if path.stem.startswith(feedback_id)]
    if len(found) != 1:
        known = [path.stem for path in found] or "none"
        raise LogError(f"{root} holds {known} for '{feedback_id}'; `knownat feedback list` names each.")
    return _read(found[0])


_SERVED_STATUS = re.compile(r"served__(.+)__status")


def remove_bundles(root: Path, *, before: datetime, model: str | None = None) -> int:
    """Remove the bundles that were posted before a moment; return how many went."""
    old = [bundle for bundle in list_bundles(root, model) if bundle.posted_at < before]
    for bundle in old:
        _path(root / bundle.model, bundle.feedback_id).unlink()
    return len(old)


_PREFIXES = ("key__", "input__", "served__", "class__")
_SAME = ("prediction_id", "request_id", "model", "version", "role", "event_timestamp", "logged_at",
         "degraded", "score")  # fmt: skip


def _without(prefix: str, row: Mapping[str, object]) -> dict[str, object]:
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}


def _view(row: Mapping[str, object], view: str) -> dict[str, object]:
    asked, event = row["event_timestamp"], row[f"{view}__event_timestamp"]
    age = asked - event if isinstance(asked, datetime) and isinstance(event, datetime) else None
    return {
        "status": row[f"{view}__status"],
        "event_timestamp": event,
        "created_timestamp": row[f"{view}__created_timestamp"],
        "age_seconds": None if age is None else age.total_seconds(),
    }


def _path(folder: Path, feedback_id: str) -> Path:
    return folder / f"{feedback_id}.json"


def _read(path: Path) -> Bundle:
    try:
        return Bundle.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise LogError(f"{path} cannot be read as a bundle. Restore it or move it away.") from error


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
