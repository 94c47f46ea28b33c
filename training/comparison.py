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
    same = pc.fill_null(pc.equal(found, wanted), False)
    both = pc.and_(pc.is_null(found, nan_is_null=True), pc.is_null(wanted, nan_is_null=True))
    return np.asarray(pc.invert(pc.or_(same, both)).to_numpy(), dtype=np.bool_)


def count_differing(found: pa.ChunkedArray, wanted: pa.ChunkedArray) -> int:
    """Count the rows in which two columns differ."""
    return int(differs(found, wanted).sum())
