"""Rows of a table by their position, read a few columns and a slice of rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from knownat.errors import RepoError
from knownat.stores.parquet_pieces import PLAIN
from knownat.stores.tables import FeatureTable, as_series, check_columns

Positions = npt.NDArray[np.int32] | npt.NDArray[np.int64]

ROW_BYTES = 125
"""About how much a row takes while it is searched: its key, its times, and their order."""

MOST_ROWS = 2_000_000_000 // ROW_BYTES
"""How many rows of a table are read at once if nobody says so: about two gigabytes."""

_READ_VALUES = 1 << 20
_WIDEST = 8


@dataclass(frozen=True)
class Picked:
    """Which row of a column to take for each place of the result, and where there is none."""

    rows: npt.NDArray[np.intp]
    found: npt.NDArray[np.bool_]
    valid: pa.Buffer | None
    _numbers: list[pl.Series] = field(default_factory=list)

    @classmethod
    def of(cls, rows: npt.NDArray[np.integer]) -> "Picked":
        """Pick these rows, and null for -1."""
        found = rows >= 0
        if found.all():
            return cls(rows.astype(np.intp, copy=False), found, None)
        valid = pa.py_buffer(np.packbits(found, bitorder="little"))
        return cls(np.maximum(rows, 0).astype(np.intp, copy=False), found, valid)

    def of_column(self, column: pl.Series) -> pl.Series:
        """Pick from a column."""
        if column.is_empty():
            return column.extend_constant(None, len(self.rows))
        if isinstance(column.dtype, (*PLAIN, pl.Time)) and not column.null_count():
            values = column.to_physical().to_numpy()
            # The nulls of all columns of a table share their bits.
            taken = as_series(np.take(values, self.rows, mode="clip"), valid=self.valid)
            return taken.cast(column.dtype).alias(column.name)
        if not self._numbers:
            self._numbers.append(as_series(self.rows.astype(np.uint32), valid=self.valid))
        return column.gather(self._numbers[0])


def read_columns(
    table: FeatureTable, names: Sequence[str], positions: Positions, *, most_rows: int = MOST_ROWS
) -> Iterator[pl.Series]:
    """Read rows of a table by position, null for -1; one column after the other.

    Raises
    ------
    RepoError
        If the table lacks a column, or was rewritten since its rows were found.
    """
    check_columns(table, names)
    found = positions >= 0
    low, high = (int(positions[found].min()), int(positions.max()) + 1) if found.any() else (0, 0)
    parts = _Parts(table, positions, low, high, most_rows)
    at_once = max(1, _READ_VALUES // max(1, min(high - low, most_rows)))
    for start in range(0, len(names), at_once):
        yield from parts.read(names[start : start + at_once])


class _Parts:
    """The part of a table that has the rows, in slices of ``most_rows``."""

    def __init__(
        self, table: FeatureTable, positions: Positions, low: int, high: int, most_rows: int
    ) -> None:
        self._table = table
        self._rows = table.rows if table.origin is None else table.origin
        if high - low <= most_rows:
            self._slices = [(low, high - low, Picked.of(np.where(positions >= 0, positions - low, -1)))]
            self._final: Picked | None = None
            return
        order = np.argsort(positions, kind="stable")[int((positions < 0).sum()) :]
        sorted_positions = positions[order]
        self._slices = []
        for at in range(low, high, most_rows):
            first, last = np.searchsorted(sorted_positions, [at, at + most_rows])
            if first < last:
                size = min(most_rows, high - at)
                self._slices.append((at, size, Picked.of(sorted_positions[first:last] - at)))
        places = np.full(len(positions), -1, dtype=np.int64)
        places[order] = np.arange(len(order))
        self._final = Picked.of(places)

    def read(self, names: Sequence[str]) -> Iterator[pl.Series]:
        pieces: dict[str, list[pl.Series]] = {name: [] for name in names}
        for at, size, picked in self._slices:
            for column in self._columns(names, at, size):
                self._check_unchanged()
                pieces[column.name].append(picked.of_column(column))
        for some in pieces.values():
            yield some[0] if self._final is None else self._final.of_column(pl.concat(some))

    def _columns(self, names: Sequence[str], at: int, size: int) -> Iterator[pl.Series]:
        pieces = self._table.pieces
        if pieces is None or not pieces.fit(names) or any(pieces.has_nulls(n, at, size) for n in names):
            yield from self._rows.slice(at, size).select(names).collect()
            return
        for name in names:
            kind = pieces.schema[name]
            # The same memory for one column after another: each is picked from before the next is read.
            values = self._memory[: size * _WIDEST].view(_dtype(kind))[:size]
            pieces.fill(name, at, values)
            yield as_series(values).cast(kind).alias(name)

    @cached_property
    def _memory(self) -> npt.NDArray[np.uint8]:
        return np.empty(max(size for _, size, _ in self._slices) * _WIDEST, np.uint8)

    def _check_unchanged(self) -> None:
        if self._table.unchanged is not None and not self._table.unchanged():
            raise RepoError(
                f"{self._table.name}: its table was rewritten while it was read. Ask again; a table that "
                "is written often is better a folder, to which files are added."
            )


def _dtype(kind: pl.DataType) -> np.dtype[np.generic]:
    dtype: np.dtype[np.generic] = pl.Series([], dtype=kind).to_physical().to_numpy().dtype
    return dtype
