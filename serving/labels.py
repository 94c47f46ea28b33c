"""Labels that arrive later, by prediction id."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from knownat.clock import to_us
from serving.errors import BadRequest, LogUnavailable
from serving.prediction_ids import PredictionIds
from serving.prediction_log import RowLog

MAX_LABELS = 10_000
_FIELDS = frozenset({"prediction_id", "label", "label_timestamp"})
_ID_CHARACTERS = 256
# A clock beside ours may run ahead by as much.
_SKEW_US = 1_000_000


@dataclass(frozen=True)
class PostedLabel:
    """One checked label: of which prediction, its value, and when it became known."""

    prediction_id: str
    label: float
    known_us: int


def read_labels(document: Mapping[str, object], now_us: int) -> list[PostedLabel]:
    """Check a request of labels; one without a time became known now.

    Raises
    ------
    BadRequest
        If anything in it is wrong; then none of its labels is kept.
    """
    if odd := document.keys() - {"labels"}:
        raise BadRequest(f"{len(odd)} unknown field(s); a request has 'labels'.")
    found = document.get("labels")
    if not isinstance(found, list):
        raise BadRequest("'labels' must be a list of objects.")
    if not 1 <= len(found) <= MAX_LABELS:
        raise BadRequest(f"'labels' holds {len(found)} labels; send 1 to {MAX_LABELS} at a time.")
    return [_read_label(number, item, now_us) for number, item in enumerate(found)]


def keep_labels(labels: list[PostedLabel], *, ids: PredictionIds, log: RowLog, now_us: int) -> list[str]:
    """Write the labels of known predictions to the log; return the ids that are unknown.

    Raises
    ------
    LogUnavailable
        If the log takes none of them: unlike a prediction, a label that is not kept was not answered.
    """
    known = [label for label in labels if ids.knows(label.prediction_id)]
    if known:
        reason = log.append([(one.prediction_id, one.label, one.known_us, now_us) for one in known])
        if reason is not None:
            raise LogUnavailable(f"The labels could not be kept ({reason}). Send them again later.")
    return [label.prediction_id for label in labels if not ids.knows(label.prediction_id)]


def _read_label(number: int, item: object, now_us: int) -> PostedLabel:
    if not isinstance(item, dict):
        raise _refusal(number, "must be an object")
    if odd := item.keys() - _FIELDS:
        raise _refusal(number, f"has {len(odd)} unknown field(s); known are {sorted(_FIELDS)}")
    prediction_id, label = item.get("prediction_id"), item.get("label")
    if not (isinstance(prediction_id, str) and 0 < len(prediction_id) <= _ID_CHARACTERS):
        raise _refusal(number, f"needs a 'prediction_id' of at most {_ID_CHARACTERS} characters")
    if type(label) not in (int, float) or not math.isfinite(value := _as_float(label)):
        raise _refusal(number, "needs a finite number as 'label'")
    # Null is no time: whoever sends it meant to say one.
    known_us = _known_us(number, item["label_timestamp"], now_us) if "label_timestamp" in item else now_us
    return PostedLabel(prediction_id, value, known_us)


def _as_float(label: object) -> float:
    try:
        return float(label) if isinstance(label, (int, float)) else math.nan
    except OverflowError:
        return math.inf


def _known_us(number: int, text: object, now_us: int) -> int:
    try:
        known_us = to_us(datetime.fromisoformat(text if isinstance(text, str) else ""))
    except ValueError as error:
        problem = "needs a time with its zone as 'label_timestamp', such as 2013-10-15T12:00:00Z"
        raise _refusal(number, problem) from error
    if known_us > now_us + _SKEW_US:
        raise _refusal(number, "has a 'label_timestamp' later than now; a label is sent once it is known")
    return known_us


def _refusal(number: int, problem: str) -> BadRequest:
    return BadRequest(
        f"The request was refused: label {number} {problem}.", [{"row": number, "problem": problem}]
    )
