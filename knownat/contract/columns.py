"""A logged or training column as plain numbers or texts; a NaN is a null."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.schema import Column
from knownat.errors import SchemaMismatch

Numbers = npt.NDArray[np.float64]


def is_category(column: Column) -> bool:
    """Whether a model column holds one of a set of names."""
    return column.dtype == "category"


def as_numbers(name: str, values: pa.ChunkedArray) -> Numbers:
    """Return a number or boolean column as float64, NaN where it is null; infinities stay.

    Raises
    ------
    SchemaMismatch
        If the column holds anything else.
    """
    kind = values.type
    if pa.types.is_null(kind):
        return np.full(len(values), np.nan)
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise SchemaMismatch(f"Column '{name}' holds {kind}; numbers were expected.")
    numbers = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(numbers, dtype=np.float64)


def as_texts(name: str, values: pa.ChunkedArray) -> pa.Array:
    """Return a category column as text, null where it is null.

    Raises
    ------
    SchemaMismatch
        If the column holds anything but text.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = pc.cast(values, kind.value_type), kind.value_type
    if not (pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise SchemaMismatch(f"Column '{name}' holds {kind}; text was expected.")
    return pa.concat_arrays(
        [chunk.cast(pa.string()) for chunk in values.chunks] or [pa.array([], pa.string())]
    )


def find_nulls(column: Column, values: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Mark the rows without a value."""
    if is_category(column):
        return np.asarray(
            as_texts(column.name, values).is_null().to_numpy(zero_copy_only=False), dtype=np.bool_
        )
    return np.isnan(as_numbers(column.name, values))


def null_share(column: Column, values: pa.ChunkedArray) -> float:
    """Share of rows without a value; 0 for no rows."""
    return float(find_nulls(column, values).mean()) if len(values) else 0.0
