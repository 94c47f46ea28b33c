"""What windows of one length usually look like, learned from the release's own rows.

Rows of one day share its weather, its weekday and its season, so a day differs from a year far more
than as many independent rows would. A window is therefore also held against the windows of its own
length that the release was trained and tested on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import to_us
from knownat.contract.columns import Numbers
from monitoring.windows import Window

Rows = npt.NDArray[np.int64]

_FEWEST_ROWS = 20
_FEWEST_WINDOWS = 20


@dataclass(frozen=True)
class PastWindows:
    """Row numbers of each past window with enough rows; empty where there are too few windows."""

    rows: tuple[Rows, ...] = ()

    @classmethod
    def of(cls, table: pa.Table, window: Window) -> Self:
        """Cut a table's rows into windows of the given one's length, in step with it."""
        if "event_timestamp" not in table.column_names or not table.num_rows:
            return cls()
        asked = pc.cast(table["event_timestamp"], pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
        number = (asked - to_us(window.start)) // (to_us(window.end) - to_us(window.start))
        order = np.argsort(number, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
        kept = tuple(group for group in groups if len(group) >= _FEWEST_ROWS)
        return cls(kept if len(kept) >= _FEWEST_WINDOWS else ())

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Rows]:
        return iter(self.rows)

    def share_within(self, values: npt.NDArray[np.bool_], *, share: float) -> float:
        """Tell in which share of past windows at least ``share`` of the rows are true."""
        return float(np.mean([values[rows].mean() >= share for rows in self])) if self.rows else 0.0

    def constant_share(self, numbers: Numbers) -> float:
        """Tell in which share of past windows every finite value is the same."""
        return float(np.mean([_is_constant(numbers[rows]) for rows in self])) if self.rows else 0.0


NO_PAST = PastWindows()


def _is_constant(numbers: Numbers) -> bool:
    finite = numbers[np.isfinite(numbers)]
    return len(finite) > 0 and bool(finite.min() == finite.max())
