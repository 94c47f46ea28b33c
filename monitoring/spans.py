"""Spans of time as a command is given them, cut into windows."""

import re
from datetime import UTC, datetime, timedelta

import typer

from monitoring.windows import Window, windows_between

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_NAMED = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


def chosen_windows(
    start: str | None, end: str | None, every: str | None, *, usual: timedelta
) -> list[Window] | None:
    """Cut the span between two times into windows, ``every`` so long or else of the usual length.

    None without a span. The last window ends with the span.

    Raises
    ------
    typer.BadParameter
        If only one end is given, one is no time, they run backwards, or the length is none.
    """
    if (start is None) != (end is None) or (every is not None and start is None):
        raise typer.BadParameter("give --from and --to together; --every goes with them")
    if start is None or end is None:
        return None
    try:
        first, last = _time("--from", start), _time("--to", end)
        return windows_between(first, last, length_of(every) if every else usual)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def length_of(text: str) -> timedelta:
    """Read a length of time: ``hour``, ``day``, ``week``, or a number and ``h``, ``d`` or ``w``.

    Raises
    ------
    typer.BadParameter
        If it is none of these, or no time at all.
    """
    if text in _NAMED:
        return _NAMED[text]
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    if found is None:
        raise typer.BadParameter(f"--every '{text}' is no length; write day, week, 6h, 14d or 4w")
    return int(found[1]) * _UNITS[found[2]]


def _time(option: str, text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} '{text}' is not a time; write 2013-10-15T04:00:00Z") from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
