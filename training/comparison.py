"""Columns compared cell by cell: equal to the last bit, or not."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]


def differs(found: pa.ChunkedArray, wanted: pa.ChunkedArray) -> Mask:
    """Tell of each row whether two columns of one type differ; a missing value equals a missing one.

    NaN is a missing value: an integer column with nulls comes back from Feast as floats with NaN.
    """
    if found.equals(wanted):
        return np.zeros(len(found), dtype=np.bool_)
    if pa.types.is_nested(found.type):
        # Arrow compares no lists; written out, a NaN in one is equal to itself too.
        found, wanted = (pa.chunked_array([_written_out(column)]) for column in (found, wanted))
    same = pc.fill_null(pc.equal(found, wanted), False)
    both = pc.and_(pc.is_null(found, nan_is_null=True), pc.is_null(wanted, nan_is_null=True))
    return np.asarray(pc.invert(pc.or_(same, both)).to_numpy(), dtype=np.bool_)


def _written_out(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if value is None else repr(value) for value in column.to_pylist()], pa.string())


def count_differing(found: pa.ChunkedArray, wanted: pa.ChunkedArray) -> int:
    """Count the rows in which two columns differ."""
    return int(differs(found, wanted).sum())
