"""Times and clocks as a command is given them."""

from datetime import UTC, datetime

import typer

from knownat.clock import Clock, open_clock
from monitoring.windows import Window


def chosen_window(start: str | None, end: str | None) -> Window | None:
    """Return the window between two times; None without them.

    Raises
    ------
    typer.BadParameter
        If only one is given, one is no time, or they run backwards.
    """
    if (start is None) != (end is None):
        raise typer.BadParameter("give both --start and --end, or neither")
    if start is None or end is None:
        return None
    try:
        return Window(_time("--start", start), _time("--end", end))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def clock_of(text: str) -> Clock:
    """Open the clock that was named.

    Raises
    ------
    typer.BadParameter
        If there is none of that name.
    """
    try:
        return open_clock(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _time(option: str, text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} '{text}' is not a time; write 2013-10-15T04:00:00Z") from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
