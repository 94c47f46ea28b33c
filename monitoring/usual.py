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

    def usual_share(self, bucket: int, *, at_least: float) -> float:
        """Return the share of rows in a bucket that this share of past windows had at least; 1 for none."""
        if not len(self):
            return 1.0
        return float(np.quantile(self.counts[:, bucket] / self.counts.sum(axis=1), 1 - at_least))


NO_PAST = Past()


def rows_by_window(table: pa.Table, window: Window) -> tuple[Rows, ...]:
    """Cut a table's rows into windows of the given one's length, in step with it.

    Windows with too few rows are left out; too few windows are none.
    """
    if "event_timestamp" not in table.column_names or not table.num_rows:
        return ()
    asked = pc.cast(table["event_timestamp"], pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    number = (asked - to_us(window.start)) // (to_us(window.end) - to_us(window.start))
    order = np.argsort(number, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    kept = tuple(group for group in groups if len(group) >= _FEWEST_ROWS)
    return kept if len(kept) >= _FEWEST_WINDOWS else ()
