"""Columns laid aside on disk one after the other, and read back side by side, a slice at a time.

A retrieval finds its features column by column, while a Parquet file is written row by row. In
between, they lie here, so that the result is never in memory as a whole.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

_SLICE = 1 << 17


class Spool:
    """Columns of equal length in a folder, which the caller removes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._columns: dict[str, pa.ipc.RecordBatchFileReader] = {}

    @property
    def names(self) -> list[str]:
        """The columns laid aside so far, in their order."""
        return [*self._columns]

    def put(self, name: str, column: pa.ChunkedArray) -> None:
        """Lay a column aside."""
        file = str(self._folder / f"{len(self._columns)}.arrow")
        schema = pa.schema([pa.field(name, column.type)])
        with pa.OSFile(file, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for start in range(0, max(1, len(column)), _SLICE):
                part = pa.concat_arrays(column.slice(start, _SLICE).chunks or [pa.nulls(0, column.type)])
                writer.write_batch(pa.record_batch([part], schema=schema))
        self._columns[name] = pa.ipc.open_file(pa.OSFile(file, "rb"))

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a whole column back."""
        return self._columns[name].read_all()[name]

    def beside(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield the rows of a table with the columns laid aside, in order, a slice at a time.

        A table without rows is one slice without rows.
        """
        for number, start in enumerate(range(0, max(1, table.num_rows), _SLICE)):
            rows = table.slice(start, _SLICE)
            for name, reader in self._columns.items():
                rows = rows.append_column(name, reader.get_batch(number)[name])
            yield rows
