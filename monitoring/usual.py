"""What windows of one length usually look like, learned from the rows a release was trained on."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import to_us
from knownat.contract.reference import History, Steps
from monitoring.windows import Window

Rows = npt.NDArray[np.int64]

_FEWEST_ROWS = 20
_FEWEST_WINDOWS = 20
_FEWEST_LENGTHS = 4
"""How many windows side by side a table must hold before overlapping ones say what is usual."""
_DAY_US = 86_400_000_000


def _none() -> Steps:
    return np.zeros((0, 0), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Past:
    """One column's past windows of a length: rows by window and bucket, the last bucket for nulls."""

    counts: Steps = field(default_factory=_none)
    stood_still: float = 0.0
    """Share of the windows in which all values were the same."""

    @classmethod
    def of(cls, history: History, column: str, window: Window) -> Self:
        """Take the past windows of a window's length that have enough rows; too few windows are none."""
        length = window.end - window.start
        counts = history.windows(column, length)
        enough = counts.sum(axis=1) >= _FEWEST_ROWS
        if enough.sum() < _FEWEST_WINDOWS:
            return cls()
        still = history.stand_still(column, length)
        return cls(counts[enough], float(still[enough].mean()) if len(still) else 0.0)

    def __len__(self) -> int:
        return len(self.counts)

    def share_of_nulls_within(self, share: float) -> float:
        """Tell in which share of past windows at least this share of the rows had no value."""
        if not len(self):
            return 0.0
        return float(np.mean(self.counts[:, -1] >= share * self.counts.sum(axis=1)))

    def largest_share(self, bucket: int) -> float:
        """Return the largest share of rows that any past window had in a bucket; 0 for none."""
        if not len(self):
            return 0.0
        return float(np.max(self.counts[:, bucket] / self.counts.sum(axis=1)))

    def usual_share(self, bucket: int, *, at_least: float) -> float:
        """Return the share of rows in a bucket that this share of past windows had at least; 1 for none."""
        if not len(self):
            return 1.0
        return float(np.quantile(self.counts[:, bucket] / self.counts.sum(axis=1), 1 - at_least))


NO_PAST = Past()


def rows_by_window(table: pa.Table, window: Window) -> tuple[Rows, ...]:
    """Cut a table's rows into windows of the given one's length, in step with it.

    A window longer than a day begins at each day, so that they overlap: of a test of three months a
    dozen weeks stand side by side, which is too few. Windows with too few rows are left out; too few
    windows, or a table not much longer than one, are none.
    """
    if "event_timestamp" not in table.column_names or not table.num_rows:
        return ()
    asked = pc.cast(table["event_timestamp"], pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    length = to_us(window.end) - to_us(window.start)
    order = np.argsort(asked, kind="stable")
    starts = _starts(int(asked[order[0]]), int(asked[order[-1]]), to_us(window.start), length)
    bounds = np.searchsorted(asked[order], [starts, starts + length])
    groups = (order[first:last] for first, last in bounds.T if last - first >= _FEWEST_ROWS)
    kept = tuple(groups)
    return kept if len(kept) >= _FEWEST_WINDOWS else ()


def _starts(first: int, last: int, anchor: int, length: int) -> Rows:
    step = min(length, _DAY_US)
    if length > _DAY_US and last - first < _FEWEST_LENGTHS * length:
        return np.zeros(0, dtype=np.int64)
    # One that begins before the first row is whole only if it is no longer than a step.
    before = (first - anchor) // step if length <= _DAY_US else -((anchor - first) // step)
    after = (last - anchor) // step if length <= _DAY_US else (last + step - anchor - length) // step
    return anchor + step * np.arange(before, after + 1)
