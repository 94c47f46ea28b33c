"""Small stand-ins for columns of any length, for charts: their quantiles, in an order like time's.

Evidently's cost grows with rows and most of it draws figures. A grid of 2 000 quantiles has the
column's shape to within a fortieth of a percent of its mass, where a random sample of as many rows
errs thirty times as much. The quantiles come from the column's profile; a few of its rows only say
which of them came when. The numbers shown beside the charts come from all rows anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.columns import Numbers, as_numbers, as_texts
from knownat.contract.held import HeldNames, HeldNumbers
from knownat.contract.prediction_log import logged_scores
from knownat.contract.profile import ColumnProfile
from monitoring.ranges import known_bounds

POINTS = 2_000

Stand = Sequence[str | None] | Numbers


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Labels and scores of the same rows, as many of them as are worth drawing."""

    label: Numbers
    score: Numbers
    """The likeliest class, of a multiclass model."""

    @classmethod
    def of(cls, rows: pa.Table) -> Self:
        """Take at most :data:`POINTS` labelled rows at equal distances; a pair has no quantiles."""
        known = rows.filter(pc.is_valid(rows["label"]))
        chosen = known.take(pa.array(_spread(known.num_rows, min(POINTS, known.num_rows))))
        scores = logged_scores(chosen)
        answered = scores if scores.ndim == 1 else scores.argmax(axis=1).astype(np.float64)
        return cls(as_numbers("label", chosen["label"]), answered)


def surrogate(name: str, column: ColumnProfile, rows: pa.ChunkedArray, *, reference: ColumnProfile) -> Stand:
    """Return at most :data:`POINTS` values of a column, in the order that its ``rows`` are in.

    Nulls keep their share. Numbers far outside the reference's range are drawn at its edge and
    infinities left out, so that one of them does not flatten the chart: a fault names them.
    """
    count = min(POINTS, column.values + column.missing)
    if isinstance(column.held, HeldNames):
        return _names(column, column.held, as_texts(name, rows), count)
    low, high = known_bounds(reference.held) if isinstance(reference.held, HeldNumbers) else (-np.inf, np.inf)
    sample = as_numbers(name, rows)[_spread(len(rows), count)]
    drawn = round(count * column.held.finite / max(column.values + column.missing, 1))
    values = np.full(count, np.nan)
    shares = (np.arange(drawn) + 0.5) / max(drawn, 1)
    values[:drawn] = np.clip(column.held.quantiles(shares), low, high)
    result = np.empty(count)
    result[np.argsort(np.where(np.isinf(sample), np.nan, sample), kind="stable")] = values
    return result


def _names(column: ColumnProfile, held: HeldNames, rows: pa.Array, count: int) -> list[str | None]:
    tally = [*zip(held.grid.names, held.counts.tolist(), strict=True), *held.new_names.items()]
    unnamed = held.new - sum(held.new_names.values())
    ordered: list[tuple[str | None, int]] = [*sorted(tally), ("other", unnamed), (None, column.missing)]
    until = np.cumsum([rows for _, rows in ordered])
    total = max(int(until[-1]), 1)
    at = np.searchsorted(until, (np.arange(count) + 0.5) * total / max(count, 1), side="right")
    sample = rows.take(pa.array(_spread(len(rows), count)))
    result: list[str | None] = [None] * count
    # Nulls sort last, as they stand last among the names.
    for place, which in zip(pc.array_sort_indices(sample).to_pylist(), at.tolist(), strict=True):
        result[place] = ordered[which][0]
    return result


def _spread(rows: int, count: int) -> npt.NDArray[np.int64]:
    """Pick row numbers at equal distances."""
    return ((np.arange(count) + 0.5) * rows / max(count, 1)).astype(np.int64)
