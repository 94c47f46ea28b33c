"""Profiles: what a column held, in counts that add up.

One pass over Arrow or Parquet counts each column into the fixed buckets of its grid. The sum of two
profiles is the profile of both tables together, exactly and in any order: every field is a count, a
smallest, a largest, or a set.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.columns import as_numbers, as_texts, is_category
from knownat.contract.grid import Grid, NameGrid, NumberGrid
from knownat.contract.held import Held, HeldNames, HeldNumbers, added
from knownat.contract.schema import Column
from knownat.errors import SchemaMismatch

_BATCH_ROWS = 131_072


@dataclass(frozen=True)
class ColumnProfile:
    """One column: how many rows had no value, and what the others held."""

    held: Held
    nulls: int = 0
    nans: int = 0
    absent: int = 0
    """Rows of tables that lacked the column."""
    mistyped: int = 0
    """Rows of tables in which it had a type that cannot be counted, and those types."""
    types: frozenset[str] = frozenset()

    @property
    def values(self) -> int:
        """Rows with a value; an infinite one is a value."""
        held = self.held
        if isinstance(held, HeldNames):
            return int(held.counts.sum()) + held.new
        return held.finite + held.minus_infinite + held.infinite

    @property
    def missing(self) -> int:
        """Rows whose value is null or NaN, which a model treats alike."""
        return self.nulls + self.nans

    def __add__(self, other: "ColumnProfile") -> "ColumnProfile":
        """Count both."""
        return ColumnProfile(
            held=_add_held(self.held, other.held),
            nulls=self.nulls + other.nulls,
            nans=self.nans + other.nans,
            absent=self.absent + other.absent,
            mistyped=self.mistyped + other.mistyped,
            types=self.types | other.types,
        )


@dataclass(frozen=True)
class Profile:
    """What a table held, column by column; profiles of the same layout add up."""

    rows: int
    columns: Mapping[str, ColumnProfile]
    others: Mapping[str, int]
    """Columns the layout does not have, and how many of their values are not null."""

    @property
    def layout(self) -> "Layout":
        """The buckets everything was counted into."""
        return Layout(tuple(column.held.grid for column in self.columns.values()))

    def __add__(self, other: "Profile") -> "Profile":
        """Return the profile of both tables together.

        Raises
        ------
        SchemaMismatch
            If they were not counted into the same buckets.
        """
        if list(self.columns) != list(other.columns):
            odd = sorted(set(self.columns) ^ set(other.columns))
            raise SchemaMismatch(
                f"Profiles of other columns ({odd or 'another order'}) do not add up; "
                "count both by the layout of one release."
            )
        columns = {name: column + other.columns[name] for name, column in self.columns.items()}
        return Profile(self.rows + other.rows, columns, added(self.others, other.others))


@dataclass(frozen=True)
class Layout:
    """The grids of all profiled columns, in order."""

    grids: tuple[Grid, ...]

    @classmethod
    def fit(cls, table: pa.Table, columns: Sequence[Column]) -> "Layout":
        """Choose every column's grid from the rows a model was trained on.

        Raises
        ------
        SchemaMismatch
            If a column holds values of another type than it is declared with.
        """
        return cls(tuple(_fit(column, table[column.name]) for column in columns))

    def empty(self) -> Profile:
        """Return the profile of no rows."""
        return self.count(pa.table({grid.name: pa.nulls(0) for grid in self.grids}))

    def count(self, table: pa.Table) -> Profile:
        """Profile a table; a column that is missing or of another type is counted as such."""
        known = {grid.name for grid in self.grids}
        rows = table.num_rows
        others = {
            name: valid
            for name in table.column_names
            if name not in known and (valid := rows - table[name].null_count)
        }
        columns = {
            grid.name: _count(grid, table[grid.name] if grid.name in table.column_names else None, rows)
            for grid in self.grids
        }
        return Profile(rows, columns, others)

    def count_parquet(self, paths: Iterable[Path]) -> Profile:
        """Profile Parquet files in one pass, a batch at a time, in memory that does not grow with them."""
        return self.total(self.count(batch) for path in paths for batch in _batches(path))

    def total(self, profiles: Iterable[Profile]) -> Profile:
        """Add profiles of this layout up."""
        return sum(profiles, start=self.empty())


def _batches(path: Path) -> Iterator[pa.Table]:
    with pa.OSFile(str(path)) as source:
        for batch in pq.ParquetFile(source).iter_batches(_BATCH_ROWS, use_threads=False):
            yield pa.Table.from_batches([batch])


def _fit(column: Column, values: pa.ChunkedArray) -> Grid:
    if is_category(column):
        return NameGrid.fit(column.name, as_texts(column.name, values))
    numbers = as_numbers(column.name, values)
    return NumberGrid.fit(column.name, np.sort(numbers[np.isfinite(numbers)]))


def _count(grid: Grid, values: pa.ChunkedArray | None, rows: int) -> ColumnProfile:
    if values is None:
        return ColumnProfile(_nothing(grid), absent=rows)
    try:
        return _count_names(grid, values) if isinstance(grid, NameGrid) else _count_numbers(grid, values)
    except SchemaMismatch:
        kinds = frozenset({str(values.type)})
        return ColumnProfile(_nothing(grid), mistyped=rows, types=kinds if rows else frozenset())


def _nothing(grid: Grid) -> Held:
    if isinstance(grid, NameGrid):
        return HeldNames.of(grid, pa.array([], pa.string()))
    return HeldNumbers.of(grid, np.array([]))


def _count_numbers(grid: NumberGrid, values: pa.ChunkedArray) -> ColumnProfile:
    # Sorted once, every count is a binary search; NaN and null come last.
    ordered = np.sort(as_numbers(grid.name, values))
    numbers = int(np.searchsorted(ordered, np.nan))
    nulls = values.null_count
    return ColumnProfile(
        HeldNumbers.of(grid, ordered[:numbers]), nulls=nulls, nans=len(ordered) - numbers - nulls
    )


def _count_names(grid: NameGrid, values: pa.ChunkedArray) -> ColumnProfile:
    texts = as_texts(grid.name, values)
    return ColumnProfile(HeldNames.of(grid, texts), nulls=texts.null_count)


def _add_held(one: Held, two: Held) -> Held:
    if isinstance(one, HeldNumbers) and isinstance(two, HeldNumbers):
        return one + two
    if isinstance(one, HeldNames) and isinstance(two, HeldNames):
        return one + two
    raise SchemaMismatch(f"Column '{one.grid.name}' is a number in one profile and a name in the other.")
