"""Small stand-ins for columns of any length, for charts: their quantiles, in order of time.

Evidently's cost grows with rows and most of it draws figures. A grid of 2 000 quantiles has the
column's shape to within a fortieth of a percent of its mass, where a random sample of as many rows
errs thirty times as much; the numbers shown beside the charts come from all rows anyway.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.columns import Numbers, as_numbers, as_texts, is_category
from knownat.contract.schema import Column
from monitoring.faults import known_bounds

POINTS = 2_000

Positions = npt.NDArray[np.int64]


def surrogate(
    column: Column, values: pa.ChunkedArray, *, baseline: pa.ChunkedArray
) -> Sequence[str | None] | Numbers:
    """Pick at most :data:`POINTS` of a column's values at evenly spaced ranks, in order of time.

    Nulls keep their share. Numbers far outside the baseline's range are drawn at its edge and
    infinities left out, so that one of them does not flatten the chart: a fault names them.
    """
    if is_category(column):
        texts = as_texts(column.name, values)
        ranks = pc.array_sort_indices(texts).to_numpy().astype(np.int64)
        return [texts[int(row)].as_py() for row in _spread(ranks)]
    numbers = as_numbers(column.name, values)
    low, high = known_bounds(as_numbers(column.name, baseline))
    shown = np.where(np.isinf(numbers), np.nan, np.clip(numbers, low, high))
    picked: Numbers = shown[_spread(np.argsort(shown, kind="stable"))]
    return picked


def _spread(ranks: Positions) -> Positions:
    rows = len(ranks)
    if rows <= POINTS:
        return np.arange(rows, dtype=np.int64)
    grid = ((np.arange(POINTS) + 0.5) * rows / POINTS).astype(np.int64)
    return np.sort(ranks[grid])
