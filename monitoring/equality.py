"""Whether two values are the same, by what they are declared as; and how one may have become the other."""

import math
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Marks = npt.NDArray[np.bool_]

_DEFAULTS: frozenset[object] = frozenset({0, -1, -999, "", "unknown", "missing", "none", "null", "nan", "NA"})
"""What programs write where there is nothing; False is 0 here."""
_OFTEN = 3
_INT32 = 2**32


class Slip(StrEnum):
    """A way a value changes on its way through programs, that tells itself by the value."""

    DTYPE = "dtype"
    NULL_DEFAULT = "null_default"


def differing(served: pa.ChunkedArray, offline: pa.ChunkedArray, *, declared: str = "") -> Marks:
    """Mark the rows where two columns differ: a null is a NaN, integers as integers, floats exactly.

    A value declared as ``float32`` is compared as one: no store can keep more of it.
    """
    ours, theirs = (_plain(side, declared) for side in (served, offline))
    if ours.type != theirs.type:
        # Python compares an integer with a float exactly, where Arrow would round one of them.
        pairs = zip(ours.to_pylist(), theirs.to_pylist(), strict=True)
        return np.array([mine != other for mine, other in pairs], dtype=np.bool_)
    if pa.types.is_null(ours.type):
        return np.zeros(len(ours), dtype=np.bool_)
    one_is_null = pc.xor(ours.is_null(), theirs.is_null())
    unequal = pc.fill_null(pc.not_equal(ours, theirs), False)
    return np.asarray(pc.or_(one_is_null, unequal).to_numpy(), dtype=np.bool_)


def slips(served: Sequence[object], offline: Sequence[object]) -> list[Slip | None]:
    """Tell of pairs of different values which one slip would explain each, if any.

    What stands for a null is a default if programs use that value for nothing, or if it stands for
    most of the column's nulls.
    """
    pairs = [(_or_none(s), _or_none(o)) for s, o in zip(served, offline, strict=True)]
    fillings = (Counter(s for s, o in pairs if o is None), Counter(o for s, o in pairs if s is None))
    return [_slip(s, o, fillings) for s, o in pairs]


def _slip(served: object, offline: object, fillings: tuple[Counter[object], Counter[object]]) -> Slip | None:
    for value, other, filled in ((served, offline, fillings[0]), (offline, served, fillings[1])):
        if other is None:
            common = filled[value] >= _OFTEN and 2 * filled[value] > filled.total()
            return Slip.NULL_DEFAULT if common or value in _DEFAULTS else None
    return Slip.DTYPE if _recast(served, offline) else None


def _recast(value: object, true: object) -> bool:
    """Whether a value is what the true one becomes in a narrower or another type."""
    if isinstance(value, bool) or isinstance(true, bool):
        return not (isinstance(value, bool) and isinstance(true, bool)) and _as_text(value) == _as_text(true)
    if isinstance(value, str) or isinstance(true, str):
        return not (isinstance(value, str) and isinstance(true, str)) and _as_text(value) == _as_text(true)
    if not isinstance(value, int | float) or not isinstance(true, int | float) or not math.isfinite(true):
        return False
    if isinstance(true, int):
        wrapped = (true + _INT32 // 2) % _INT32 - _INT32 // 2
        return value in (wrapped, float(true)) and value != true
    narrow = (float(np.float32(true)) if abs(true) < 3e38 else math.inf, math.trunc(true), round(true))
    return value in narrow and value != true


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return {"true": "1", "false": "0"}.get(str(value).lower(), str(value))


def _or_none(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _plain(column: pa.ChunkedArray, declared: str) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_integer(kind):
        return pc.cast(column, pa.int64())
    if pa.types.is_floating(kind):
        narrow = pc.cast(column, pa.float32()) if declared == "float32" else column
        floats = pc.cast(narrow, pa.float64())
        return pc.if_else(pc.is_nan(floats), pa.scalar(None, pa.float64()), floats)
    return pc.cast(column, pa.string()) if pa.types.is_large_string(kind) else column
