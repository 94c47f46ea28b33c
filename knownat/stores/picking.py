"""Rows of columns, picked by number: the cheapest way for each kind of column."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from knownat.stores.tables import as_series

_PLAIN = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64),
    *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
    *(pl.Float32, pl.Float64),
    *(pl.Date, pl.Datetime, pl.Duration, pl.Time),
)


@dataclass(frozen=True)
class Picked:
    """Which row of a column to take for each place of the result, and where there is none."""

    rows: npt.NDArray[np.intp]
    found: npt.NDArray[np.bool_]
    valid: pa.Buffer | None
    _numbers: list[pl.Series] = field(default_factory=list)

    @classmethod
    def of(cls, rows: npt.NDArray[np.integer], found: npt.NDArray[np.bool_]) -> "Picked":
        """Pick ``rows``, and null where nothing was found."""
        every = bool(found.all())
        valid = None if every else pa.py_buffer(np.packbits(found, bitorder="little"))
        return cls(rows.astype(np.intp, copy=False), found, valid)

    def of_column(self, column: pl.Series) -> pl.Series:
        """Pick from a column."""
        if isinstance(column.dtype, _PLAIN) and not column.null_count() and len(column):
            values = column.to_physical().to_numpy()
            # The nulls of all columns of a table share their bits.
            taken = as_series(np.take(values, self.rows, mode="clip"), valid=self.valid)
            return taken.cast(column.dtype).alias(column.name)
        if not self._numbers:
            numbers = as_series(self.rows.astype(np.uint32), valid=self.valid)
            self._numbers.append(numbers)
        return (
            column.gather(self._numbers[0]) if len(column) else column.extend_constant(None, len(self.rows))
        )
