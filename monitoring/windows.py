"""Windows of time that are judged as one, aligned so that each day or week is judged once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from knownat.contract.model_spec import Monitoring
from knownat.contract.reference import ANCHOR


@dataclass(frozen=True)
class Window:
    """Questions asked in [start, end)."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse a window that runs backwards, or whose ends carry no time zone.

        Raises
        ------
        ValueError
            If it is one of those.
        """
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window's start and end need a time zone; write 2013-10-15T04:00:00Z")
        if self.end <= self.start:
            raise ValueError(f"the window ends at {self.end}, not after its start at {self.start}")

    @property
    def folder(self) -> str:
        """Its name on disk: both ends in UTC, which sorts by time."""
        return "_".join(_compact(when) for when in (self.start, self.end))


@dataclass(frozen=True)
class Judged:
    """One window that was judged, and whether labels were still awaited then."""

    window: Window
    pending: bool


def due_windows(now: datetime, monitoring: Monitoring, judged: Sequence[Judged] = ()) -> list[Window]:
    """Name the windows to judge at a time, newest first.

    The last complete one; every complete one since the newest that was judged, should runs have been
    missed; and those whose labels were awaited and have matured since. Where none of the declared length
    was judged yet: the last complete one, and the last whose labels matured.
    """
    length = timedelta(hours=monitoring.window_hours)
    wait = timedelta(hours=monitoring.label_wait_hours)
    complete, matured = (ANCHOR + (until - ANCHOR) // length * length for until in (now, now - wait))
    usual = [each.window.end for each in judged if each.window.end - each.window.start == length]
    ends = {complete, *(_ends_between(max(usual), complete, length) if usual else [matured])}
    due = {Window(end - length, end) for end in ends}
    due |= {each.window for each in judged if each.pending and each.window.end + wait <= now}
    return sorted(due, key=lambda window: (window.end, window.start), reverse=True)


def windows_between(start: datetime, end: datetime, length: timedelta) -> list[Window]:
    """Cut a span of time into windows of one length from its start on; the last one ends with it.

    Raises
    ------
    ValueError
        If it runs backwards, has no time zone, or the length is not positive.
    """
    whole = Window(start, end)
    if length <= timedelta(0):
        raise ValueError(f"a window of {length} has no length")
    count = -((start - end) // length)
    starts = [whole.start + number * length for number in range(count)]
    return [Window(first, min(first + length, whole.end)) for first in starts]


def _ends_between(after: datetime, last: datetime, length: timedelta) -> list[datetime]:
    first = ANCHOR + ((after - ANCHOR) // length + 1) * length
    return [first + number * length for number in range(max((last - first) // length + 1, 0))]


def _compact(when: datetime) -> str:
    when = when.astimezone(UTC)
    return when.strftime("%Y%m%dT%H%M%SZ" if not when.microsecond else "%Y%m%dT%H%M%S.%fZ")
