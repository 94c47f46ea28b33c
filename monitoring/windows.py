"""Windows of time that are judged as one, aligned so that each day or week is judged once."""

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


def due_windows(now: datetime, monitoring: Monitoring) -> list[Window]:
    """Name the windows to judge at a time: the last complete one, and the last whose labels matured.

    The second was judged before without labels; it is judged again now that they can speak.
    """
    length = timedelta(hours=monitoring.window_hours)
    wait = timedelta(hours=monitoring.label_wait_hours)
    ends = [ANCHOR + (until - ANCHOR) // length * length for until in (now, now - wait)]
    return [Window(end - length, end) for end in dict.fromkeys(ends)]


def _compact(when: datetime) -> str:
    when = when.astimezone(UTC)
    return when.strftime("%Y%m%dT%H%M%SZ" if not when.microsecond else "%Y%m%dT%H%M%S.%fZ")
