"""The only place that reads the wall clock, so that a year can be replayed on a simulated one.

Times inside the platform are UTC microseconds since the epoch, as ``int`` on hot paths and as
aware ``datetime`` at the edges.
"""

import mmap
import os
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

CLOCK_SKEW_US = 1_000_000
"""How far two machines' clocks may be apart: what is later than now by more has not happened yet."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT64 = struct.Struct("<q")


class Clock(Protocol):
    """Anything that knows what time it is."""

    def now_us(self) -> int:
        """Return UTC microseconds since the epoch."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """Return UTC microseconds since the epoch."""
        return time.time_ns() // 1_000


class FixedClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Return the time it was last set to, in UTC microseconds."""
        return self._now_us

    def move_to(self, now_us: int) -> None:
        """Set the time; backwards is allowed, since a replay may start again."""
        self._now_us = now_us


class FileClock:
    """A simulated clock shared by processes: eight bytes of a file, mapped into memory.

    The writer of a replay moves it; every reader sees the move at its next question. An aligned
    eight-byte store is atomic on every platform Python's wheels are built for.
    """

    def __init__(self, path: Path) -> None:
        # Never truncated: a reader may have it mapped already.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.fstat(descriptor).st_size < _INT64.size:
                os.pwrite(descriptor, _INT64.pack(0), 0)
            self._map = mmap.mmap(descriptor, _INT64.size)
        finally:
            os.close(descriptor)

    def now_us(self) -> int:
        """Return the simulated time in UTC microseconds."""
        return int(_INT64.unpack_from(self._map)[0])

    def move_to(self, now_us: int) -> None:
        """Set the time for every process that reads this file."""
        _INT64.pack_into(self._map, 0, now_us)


def open_clock(spec: str | None) -> Clock:
    """Open the clock that a command was given: none or ``system``, or ``file:PATH``.

    Raises
    ------
    ValueError
        If the text names no known clock.
    """
    if spec in (None, "", "system"):
        return SystemClock()
    kind, _, rest = str(spec).partition(":")
    if kind == "file" and rest:
        return FileClock(Path(rest))
    raise ValueError(f"'{spec}' names no clock; use 'system' or 'file:PATH'.")


def to_us(when: datetime) -> int:
    """Convert an aware time to UTC microseconds, exactly.

    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000

    Raises
    ------
    ValueError
        If the time carries no time zone.
    """
    if when.tzinfo is None:
        raise ValueError(f"{when} has no time zone; knownat's times are aware.")
    return (when - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Convert UTC microseconds to an aware time, exactly.

    >>> from_us(1000000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(microseconds=microseconds)


def span(length: timedelta) -> str:
    """Say a length of time in the largest unit that gives a whole number.

    >>> span(timedelta(days=14)), span(timedelta(hours=36)), span(timedelta(seconds=90))
    ('14 d', '36 h', '90 s')
    """
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if length and not length % timedelta(seconds=unit):
            return f"{length // timedelta(seconds=unit)} {name}"
    return f"{length.total_seconds():g} s"
