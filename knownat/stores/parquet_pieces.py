"""Local Parquet files, read a piece at a time: no more of a table is in memory than is worked on.

The engine's own reader decodes a whole row group, filters it into another, and keeps what it freed
for its next query: about four times what is asked for. Here a few rows are decoded at a time, and the
engine sees those. It is worth it for columns of fixed width in large files; everything else (text, nested
types, partitions, CSV, object stores, many small files) is read by the engine as ever.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

PLAIN = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64),
    *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
    *(pl.Float32, pl.Float64),
    *(pl.Date, pl.Datetime, pl.Duration),
)
"""Types of fixed width that are the same numbers in a file and in the engine."""

_LARGE_FILE = 1 << 20
_LARGEST_ROW_GROUP = 1 << 21
_PIECE_ROWS = 1 << 17
_BUFFER = 1 << 20
_PER_MICROSECOND = {"milliseconds": (1_000, 1), "microseconds": (1, 1), "nanoseconds": (1, 1_000)}


@dataclass(frozen=True)
class Bounds:
    """The first and last microsecond of a column in a row group, where the file says so."""

    first_us: int | None = None
    last_us: int | None = None


@dataclass(frozen=True)
class RowGroup:
    """A row group, and which rows of the table it holds."""

    file: str
    number: int
    start: int
    rows: int
    columns: Mapping[str, Any]
    """What the file's footer tells of each column."""

    def bounds(self, name: str) -> Bounds:
        """Tell what the file says about a column of times."""
        footer, statistics = self.columns[name]
        logical = json.loads(footer.logical_type.to_json())
        if logical["Type"] != "Timestamp" or statistics is None or not statistics.has_min_max:
            return Bounds()
        times, over = _PER_MICROSECOND[logical["timeUnit"]]
        return Bounds(statistics.min_raw * times // over, statistics.max_raw * times // over)

    def nulls(self, name: str) -> int | None:
        """Tell how many nulls a column has, if the file says so."""
        _, statistics = self.columns[name]
        return statistics.null_count if statistics is not None and statistics.has_null_count else None


@dataclass(frozen=True)
class Pieces:
    """The files of a table in order, all with the same columns; names are the view's own."""

    files: tuple[str, ...]
    schema: Mapping[str, pl.DataType]
    own_names: Mapping[str, str]
    """What a column is called in the files, where that differs."""

    def fit(self, names: Sequence[str]) -> bool:
        """Tell whether these columns can be read in pieces, and are worth it."""
        return self._fitting.issuperset(names)

    @cached_property
    def _fitting(self) -> frozenset[str]:
        """The columns that fit, none where the files are small or their row groups too large."""
        size = sum(Path(file).stat().st_size for file in self.files)
        if size < _LARGE_FILE * len(self.files):
            return frozenset()
        if any(group.rows > _LARGEST_ROW_GROUP for group in self.row_groups):
            return frozenset()
        plain = [name for name, dtype in self.schema.items() if isinstance(dtype, PLAIN)]
        fitting = {name for name in plain if "." not in self._own(name)}
        for footer in self._footers.values():
            fitting &= self._same_numbers(footer, fitting)
        return frozenset(fitting)

    @property
    def rows(self) -> int:
        """How many rows the files say they have."""
        return sum(footer.num_rows for footer in self._footers.values())

    @cached_property
    def row_groups(self) -> list[RowGroup]:
        """All row groups, in order."""
        groups, start = [], 0
        for file, footer in self._footers.items():
            places = {footer.schema.column(i).path: i for i in range(footer.num_columns)}
            for number in range(footer.num_row_groups):
                chunk = footer.row_group(number)
                columns = {
                    name: (footer.schema.column(places[own]), chunk.column(places[own]).statistics)
                    for name in self.schema
                    if (own := self._own(name)) in places
                }
                groups.append(RowGroup(file, number, start, chunk.num_rows, columns))
                start += chunk.num_rows
        return groups

    def read(self, names: Sequence[str], groups: Sequence[RowGroup], number: str) -> Iterator[pl.DataFrame]:
        """Yield columns of row groups, few rows at a time; ``number`` is the place of each in the table."""
        for group in groups:
            at = group.start
            with self._opened(group.file) as file:
                for batch in file.iter_batches(
                    _PIECE_ROWS, row_groups=[group.number], columns=self._own_all(names), use_threads=False
                ):
                    yield self._named(batch, names).with_row_index(number, offset=at)
                    at += batch.num_rows

    def fill(self, name: str, start: int, values: npt.NDArray[np.generic]) -> None:
        """Decode a column without nulls into an array, from row ``start`` of the table on."""
        for group in self._overlapping(start, len(values)):
            at = group.start - start
            with self._opened(group.file) as file:
                for batch in file.iter_batches(
                    _PIECE_ROWS, row_groups=[group.number], columns=[self._own(name)], use_threads=False
                ):
                    first, last = max(at, 0), min(at + batch.num_rows, len(values))
                    if first < last:
                        values[first:last] = _numbers(batch.column(0), values.dtype)[first - at : last - at]
                    at += batch.num_rows

    def has_nulls(self, name: str, start: int, size: int) -> bool:
        """Tell whether a column may have nulls in these rows."""
        return any(group.nulls(name) != 0 for group in self._overlapping(start, size))

    def _overlapping(self, start: int, size: int) -> list[RowGroup]:
        end = start + size
        return [g for g in self.row_groups if g.start < end and start < g.start + g.rows]

    @cached_property
    def _footers(self) -> dict[str, pq.FileMetaData]:
        return {file: pq.read_metadata(file) for file in self.files}

    def _same_numbers(self, footer: pq.FileMetaData, names: Iterable[str]) -> set[str]:
        """Return which of these columns a file has as the table's schema says."""
        arrow = footer.schema.to_arrow_schema()
        there = [name for name in names if arrow.get_field_index(self._own(name)) >= 0]
        seen = pl.DataFrame(pa.schema([arrow.field(own) for own in self._own_all(there)]).empty_table())
        return {name for name in there if seen.schema[self._own(name)] == self.schema[name]}

    def _named(self, rows: pa.RecordBatch | pa.Table, names: Sequence[str]) -> pl.DataFrame:
        frame = pl.DataFrame(rows)
        return frame.select(pl.col(self._own(name)).alias(name) for name in names)

    @contextmanager
    def _opened(self, file: str) -> Iterator[pq.ParquetFile]:
        with pq.ParquetFile(
            file, metadata=self._footers[file], pre_buffer=False, buffer_size=_BUFFER
        ) as opened:
            yield opened

    def _own(self, name: str) -> str:
        return self.own_names.get(name, name)

    def _own_all(self, names: Sequence[str]) -> list[str]:
        return [*map(self._own, names)]


def _numbers(column: pa.Array, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    return np.frombuffer(column.buffers()[1], dtype, len(column), column.offset * dtype.itemsize)
