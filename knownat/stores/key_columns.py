"""One join key of many entity rows: each distinct value encoded once, however many rows share it."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from knownat.stores.row_keys import Entities, encode_values, has_null, int_bytes, integers, listed

Indices = npt.NDArray[np.intp]
Bytes = npt.NDArray[np.uint8]

NOTHING = -1
"""The place of an entity row without a key."""

# Up to this share of distinct values it pays to look for rows that are alike.
_SHARED = 0.8
# From here on numpy joins keys in less time than Python.
_MANY = 256


class KeyColumn:
    """The values of a column, each once where rows share them, and ``codes``: which of them each row holds.

    A null's code is ``NOTHING``; ``whole`` tells that there is none, ``own`` that each row has its own.

    Raises
    ------
    BadKey
        If a value is of another type than the key.
    """

    def __init__(self, dtype: str, values: Sequence[object]) -> None:
        different = _different(dtype, values)
        # What is equal to text is text; but True is equal to 1, so of numbers each is looked at.
        self.whole = not has_null(dtype, different if dtype == "string" else values)
        self._dtype = dtype
        rows = len(values)
        self.own = self.whole and len(different) > _SHARED * rows
        if self.own:
            self._values, self.codes = values, np.arange(rows)
        else:
            places: defaultdict[Any, int] = defaultdict(count().__next__)
            if not self.whole:
                places[None] = NOTHING
            self.codes = np.fromiter(map(places.__getitem__, values), dtype=np.intp, count=rows)
            self._values = list(places)[not self.whole :]
        self.distinct = len(self._values)

    @cached_property
    def encoded(self) -> list[bytes]:
        """The distinct values as bytes."""
        if self._dtype == "int64":
            return listed(int_bytes(integers(self._values)))
        return encode_values(self._dtype, self._values)

    @cached_property
    def matrix(self) -> Bytes | None:
        """The same as an array, a value a row, if all are of one length."""
        if len(set(map(len, self.encoded))) != 1:
            return None
        return np.frombuffer(b"".join(self.encoded), dtype=np.uint8).reshape(self.distinct, -1)

    @property
    def entities(self) -> Entities:
        """An entity of each distinct value."""
        if self._dtype == "int64" and self.distinct >= _MANY:
            return Entities.laid_out(int_bytes(integers(self._values)))
        return Entities.of(self.encoded)


def _different(dtype: str, values: Sequence[object]) -> frozenset[object]:
    try:
        return frozenset(values)
    except TypeError:
        has_null(dtype, values)  # No key is of a type that has no hash: it says which one is.
        raise


def entities_of(columns: Sequence[KeyColumn], places: Sequence[Indices]) -> Entities:
    """Join values of several columns to entities, given of each column which values."""
    if len(places[0]) >= _MANY:
        pieces = [column.matrix for column in columns]
        laid = [piece[at] for piece, at in zip(pieces, places, strict=True) if piece is not None]
        if len(laid) == len(pieces):
            return Entities.of(listed(np.concatenate(laid, axis=1)))
    parts = [
        column.encoded if column.own and at is column.codes else map(column.encoded.__getitem__, at.tolist())
        for column, at in zip(columns, places, strict=True)
    ]
    return Entities.of(list(map(b"".join, zip(*parts, strict=True))))
