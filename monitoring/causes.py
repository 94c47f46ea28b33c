"""Why a served value is not the one that training would have seen: one cause for each difference.

A prediction logs which row of a view it was served: its event and its created time. Against the
offline table that tells most of the story. Another row than training's says something of how rows
travel; another value of the same row says something of how values do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl
import pyarrow as pa

from knownat.contract.read_plan import Status
from monitoring.equality import Marks, Slip, differing, slips
from monitoring.served_rows import ViewCase

_KNOWS_ENOUGH = 20
"""So many values of one feature are needed before a habit can be told from an accident."""
_HABIT = 0.2
_NEARLY_ALL = 0.9


class Cause(StrEnum):
    """Why a served value is not the offline one."""

    LAG = "materialization_lag"
    """The row became known after the last write before the question."""
    TTL = "ttl"
    """One side holds the row to its time to live, the other does not."""
    LATE_OR_CORRECTED = "late_or_corrected_row"
    """The offline table was changed afterwards, at a time that had been written already."""
    MISSING_ONLINE = "missing_online"
    """The online store should have had a row, and gave none."""
    MISSING_OFFLINE = "missing_offline"
    """The row that was served is no longer in the offline table."""
    TOO_EARLY = "served_before_it_was_known"
    WRONG_KEY = "wrong_key"
    """It is the row of another entity."""
    NULL_DEFAULT = "null_default"
    """A null on one side is a default on the other."""
    DTYPE = "dtype"
    """The value as another type would hold it."""
    SWAPPED = "swapped_columns"
    """The feature holds what another one of its view should."""
    OTHER_DEFINITION = "other_definition"
    """The same rows, and nearly every value differs: it is computed otherwise."""
    MISMATCH = "true_mismatch"
    """The same row has another value, and nothing explains it."""


def explain(case: ViewCase) -> dict[str, list[Cause | None]]:
    """Name the cause of every difference, feature by feature; None where there is none."""
    columns = {f.name: _Values.of(case, f.name, f.dtype) for f in case.view.features}
    suspects = np.any([v.own_differs for v in columns.values()], axis=0) | _unknown(case, columns)
    # What is computed otherwise says nothing of whose row it was.
    telling = [name for name, values in columns.items() if not values.is_habit]
    strangers = case.strangers(np.flatnonzero(suspects).tolist(), by=telling)
    twins = case.twins(np.flatnonzero(suspects & (case.own >= 0)).tolist())
    for values in columns.values():
        values.set_aside(strangers | twins)
    swapped = {name: _swapped(name, columns) for name in columns}
    causes: dict[str, list[Cause | None]] = {}
    for name, values in columns.items():
        values.set_aside(swapped[name])
        of_value = {
            **dict.fromkeys(values.left, Cause.OTHER_DEFINITION if values.is_habit else Cause.MISMATCH),
            **{at: _of_slip(slip, habit=values.is_habit) for at, slip in values.slips.items()},
            **dict.fromkeys(swapped[name], Cause.SWAPPED),
            **dict.fromkeys(twins, Cause.LATE_OR_CORRECTED),
            **dict.fromkeys(strangers, Cause.WRONG_KEY),
        }
        causes[name] = [
            None if not differs else of_value[at] if own or at in strangers else row_cause(case, at)
            for at, (differs, own) in enumerate(zip(values.differs, values.own_differs, strict=True))
        ]
    return causes


def row_cause(case: ViewCase, at: int) -> Cause:
    """Say why a prediction was served another row than training would find, or none."""
    served, proven = case.served, case.proven_us[at]
    if served.status[at] in {Status.UNAVAILABLE, Status.LAST_KNOWN}:
        return Cause.MISSING_ONLINE
    if served.status[at] == Status.NOT_YET or served.visible_us[at] > case.asked_us[at]:
        return Cause.TOO_EARLY
    if not served.found[at]:
        return Cause.MISSING_ONLINE if case.first_visible_us[at] <= proven else Cause.LAG
    if case.own[at] < 0:
        return Cause.LATE_OR_CORRECTED if case.same_event[at] else Cause.MISSING_OFFLINE
    if _by_ttl(case, at):
        return Cause.TTL
    # A row proves its own times too: of several of the very same ones another counts now.
    return Cause.LATE_OR_CORRECTED if case.truth.visible_us[at] <= proven else Cause.LAG


def _by_ttl(case: ViewCase, at: int) -> bool:
    served, truth = case.served, case.truth
    if served.status[at] == Status.EXPIRED:
        return bool(served.event_us[at] == truth.event_us[at] and truth.present[at])
    return bool(served.present[at] and truth.status[at] == Status.EXPIRED)


@dataclass
class _Values:
    """One feature's values: as served, and as the row that was served has them offline now."""

    served: list[object]
    offline: list[object]
    differs: Marks
    """From what training would see."""
    own_differs: Marks
    """And from the served row's own value, too."""
    known: int
    """Rows that were served and are there offline."""
    slips: dict[int, Slip]
    left: set[int]
    """Where nothing has explained the value yet."""

    @classmethod
    def of(cls, case: ViewCase, name: str, dtype: str) -> "_Values":
        served, truth = case.served.values[name], case.truth.values[name]
        known = (case.own >= 0) & case.served.present
        rows = case.rows[name] if case.rows.height else pl.Series(name, [None], dtype=truth.dtype)
        offline = rows.gather(np.maximum(case.own, 0))
        differs = differing(_arrow(served), _arrow(truth), declared=dtype)
        own_differs = differs & known & differing(_arrow(served), _arrow(offline), declared=dtype)
        places = np.flatnonzero(own_differs).tolist()
        listed, own = served.to_list(), offline.to_list()
        told = slips([listed[at] for at in places], [own[at] for at in places])
        found = {at: slip for at, slip in zip(places, told, strict=True) if slip is not None}
        left = set(places) - set(found)
        return cls(listed, own, differs, own_differs, int(known.sum()), found, left)

    def set_aside(self, explained: set[int]) -> None:
        """Leave out what has a cause that goes before the value's own."""
        self.left -= explained

    @property
    def is_habit(self) -> bool:
        """Whether so many of the values differ that they are computed otherwise."""
        return self.known >= _KNOWS_ENOUGH and len(self.left) >= _HABIT * self.known


def _unknown(case: ViewCase, columns: Mapping[str, _Values]) -> Marks:
    """Mark where values differ and the served row is not there offline."""
    differs = np.any([values.differs for values in columns.values()], axis=0)
    return np.asarray(differs & case.served.present & (case.own < 0))


def _swapped(name: str, columns: Mapping[str, _Values]) -> set[int]:
    """Find where a feature holds what another one of its view should, if nearly all that differ do."""
    mine = columns[name]
    if len(mine.left) < _KNOWS_ENOUGH:
        return set()
    for other, theirs in columns.items():
        crossed = {
            at
            for at in mine.left
            if other != name
            and mine.served[at] == theirs.offline[at]
            and theirs.served[at] == mine.offline[at]
        }
        if len(crossed) >= _NEARLY_ALL * len(mine.left):
            return crossed
    return set()


def _of_slip(slip: Slip, *, habit: bool) -> Cause:
    if habit:
        return Cause.OTHER_DEFINITION
    return Cause.DTYPE if slip is Slip.DTYPE else Cause.NULL_DEFAULT


def _arrow(values: pl.Series) -> pa.ChunkedArray:
    return pa.chunked_array([values.to_arrow(compat_level=pl.CompatLevel.oldest())])
