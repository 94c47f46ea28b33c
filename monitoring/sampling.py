"""Fewer predictions that stand for all: evenly over time, and those with something missing on top."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.read_plan import ReadPlan, Status
from knownat.contract.reference import status_column

Places = npt.NDArray[np.int64]

_ODD_SHARE = 0.25


def sample(predictions: pa.Table, plan: ReadPlan, rows: int) -> pa.Table:
    """Choose about so many predictions, in their order: the same ones for the same log.

    Most are taken evenly over the log's order of time, so that each hour counts as much as it was
    asked. A quarter is taken of those that lacked a row of some view, evenly too: they are few, and
    more often wrong.
    """
    if predictions.num_rows <= rows:
        return predictions
    odd = np.flatnonzero(_lacking(predictions, plan))
    extra = _evenly(odd, min(len(odd), int(_ODD_SHARE * rows)))
    whole = _evenly(np.arange(predictions.num_rows), rows - len(extra))
    return predictions.take(pa.array(np.union1d(whole, extra)))


def evenly(total: int, rows: int) -> Places:
    """Choose at most so many places of ``total``, evenly over all of them."""
    return _evenly(np.arange(total), min(rows, total))


def _lacking(predictions: pa.Table, plan: ReadPlan) -> npt.NDArray[np.bool_]:
    marks = np.zeros(predictions.num_rows, dtype=np.bool_)
    for view in plan.views:
        name = status_column(view.name)
        if name in predictions.column_names:
            marks |= pc.not_equal(predictions[name], Status.PRESENT.value).to_numpy()
    return marks


def _evenly(places: Places, count: int) -> Places:
    return places[((np.arange(count) + 0.5) * len(places) / max(count, 1)).astype(np.int64)]
