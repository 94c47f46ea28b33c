"""Values of a pushed row as JSON has them, each taken exactly as its view declares it or refused by name."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from knownat.clock import to_us
from serving.questions import read_input

Taken = tuple[object, str | None]
"""The value as its view takes it, and what it must be instead, where it is not that."""

_RFC3339 = re.compile(
    r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_KEY_BYTES = 1_024
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_FLOAT32_MAX = 3.4028235677973366e38
"""The first double that rounds to an infinite float32."""


def take_value(dtype: str, value: object) -> Taken:
    """Take one value of a packed type; a null is the caller's to judge.

    Integers stay exact, also beyond 2^53; a fraction is no integer. Text is text, bytes are base64, a
    time is RFC 3339 with its zone and becomes UTC microseconds.

    >>> take_value("int64", 3.7)
    (3.7, 'must be an integer of 64 bits')
    """
    if dtype.startswith("list<"):
        return _take_list(dtype[5:-1], value)
    taking = _TAKING.get(dtype)
    return read_input(dtype, value) if taking is None else taking(value)


def take_key(dtype: str, value: object) -> Taken:
    """Take a value that names an entity: as a prediction takes it, so that one can be asked for."""
    taken, problem = take_value(dtype, value)
    if problem is None and isinstance(taken, (str, bytes)):
        size = len(taken.encode() if isinstance(taken, str) else taken)
        if not 0 < size <= _KEY_BYTES:
            problem = f"must be 1 to {_KEY_BYTES} bytes"
    return taken, problem


def _take_list(item: str, value: object) -> Taken:
    if not isinstance(value, list):
        return value, "must be a list"
    taken = []
    for number, one in enumerate(value):
        found, problem = (one, "may not be null") if one is None else take_value(item, one)
        if problem is not None:
            return value, f"item {number} {problem}"
        taken.append(found)
    return taken, None


def _take_time(value: object) -> Taken:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        return value, "must be a time with its zone, such as 2013-10-15T12:00:00.000001Z"
    try:
        taken = to_us(datetime.fromisoformat(value))
    except ValueError:
        return value, "must be a time that exists"
    # With its zone, the first or last day of the calendar may lie outside it.
    return taken, None if _FIRST_US <= taken <= _LAST_US else "must be a time that exists"


def _take_bytes(value: object) -> Taken:
    try:
        return base64.b64decode(value if isinstance(value, str) else "!", validate=True), None
    except (binascii.Error, ValueError):
        return value, "must be bytes in base64"


def _take_float32(value: object) -> Taken:
    taken, problem = read_input("float64", value)
    if problem is None and isinstance(taken, float) and abs(taken) >= _FLOAT32_MAX:
        problem = "must be a number that 32 bits hold"
    return taken, problem


_TAKING: Mapping[str, Callable[[Any], Taken]] = {
    "timestamp": _take_time,
    "bytes": _take_bytes,
    "float32": _take_float32,
}
