"""Written times to exact UTC microseconds; what cannot be told for certain is a problem, never a guess."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from knownat.clock import to_us
from knownat.errors import ConfigError
from knownat.stores.csv_text import name_lines

Epoch = Literal["s", "ms", "us"]
_EPOCH_US = {"s": 1_000_000, "ms": 1_000, "us": 1}
_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d+))?\s*(Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?)?"
)
_POLARS_ISO = (
    r"^\s*\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?([.,]\d+)?\s*(Z|z|UTC|[+-]\d{2}(:?\d{2})?)?)?\s*$"
)
_CLOCK = ("%H", "%I", "%M", "%S", "%f", "%p", "%c", "%X")  # directives of a pattern that are finer than a day
_WHOLE = re.compile(r"[+-]?\d+")
_YEAR_1_US, _YEAR_9999_US = -62_135_596_800_000_000, 253_370_764_800_000_000


@dataclass(frozen=True, kw_only=True)
class TimeRules:
    """How times are written: the zone of those without one, whole numbers since 1970, or a pattern."""

    zone: str | None = None
    epoch: Epoch | None = None
    pattern: str | None = None
    """As of ``strptime``, for what is not ISO 8601."""

    @property
    def tzinfo(self) -> tzinfo | None:
        """The zone, if one was named.

        Raises
        ------
        ConfigError
            If there is no zone of that name.
        """
        if self.zone is None or self.zone.upper() in ("UTC", "Z"):
            return UTC if self.zone else None
        try:
            return ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                "--zone", [f"there is no time zone '{self.zone}'; e.g. Europe/Berlin"]
            ) from error


@dataclass(frozen=True)
class Times:
    """Times as microseconds; where a problem is, null."""

    us: pl.Series
    problems: tuple[str, ...]
    lacks_zone: bool
    """Whether any is written without a zone, and none was named."""
    whole_days: bool
    """Whether all are written as days."""


def looks_like_times(column: pl.Series) -> bool:
    """Tell whether every value is written as ISO 8601 has it, a day at least."""
    known = column.drop_nulls()
    return len(known) > 0 and bool(known.str.contains(_POLARS_ISO).all())


def read_times(column: pl.Series, lines: pl.Series, rules: TimeRules) -> Times:
    """Read a column of times.

    Raises
    ------
    ConfigError
        If the rules name a zone that is not there.
    """
    zone = rules.tzinfo
    found: dict[str, int] = {}
    refused: dict[str, list[str]] = {}
    for text in column.drop_nulls().unique(maintain_order=True).to_list():
        try:
            found[text] = _read(text.strip(), rules, zone)
        except _NoZone:
            refused.setdefault(_NoZone.reason, []).append(text)
        except ValueError as error:
            refused.setdefault(str(error), []).append(text)
    problems = [
        f"column '{column.name}', {name_lines(lines, column.is_in(texts))}: '{texts[0].strip()}' {reason}"
        for reason, texts in refused.items()
        if reason != _NoZone.reason
    ]
    us = column.replace_strict(found, default=None, return_dtype=pl.Int64)
    return Times(us, tuple(problems), _NoZone.reason in refused, _are_days(column, rules))


def _are_days(column: pl.Series, rules: TimeRules) -> bool:
    if rules.pattern is not None:
        return not any(clock in rules.pattern for clock in _CLOCK)
    return bool(column.drop_nulls().str.strip_chars().str.contains(r"^\d{4}-\d{2}-\d{2}$").all())


class _NoZone(ValueError):
    reason = "has no time zone"


def _read(text: str, rules: TimeRules, zone: tzinfo | None) -> int:
    if rules.epoch is not None:
        if not _WHOLE.fullmatch(text):
            raise ValueError(f"is no whole number of {rules.epoch} since 1970")
        return _within(int(text) * _EPOCH_US[rules.epoch])
    when = _by_pattern(text, rules.pattern) if rules.pattern else _iso(text)
    if when.tzinfo is None:
        when = _placed(when, zone)
    return to_us(when)


def _by_pattern(text: str, pattern: str) -> datetime:
    try:
        return datetime.strptime(text, pattern)
    except ValueError as error:
        raise ValueError(f"does not fit --time-format '{pattern}'") from error


def _iso(text: str) -> datetime:
    match = _ISO.fullmatch(text)
    if match is None:
        hint = "--epoch s, ms or us" if _WHOLE.fullmatch(text) else "--time-format, e.g. '%d/%m/%Y %H:%M'"
        raise ValueError(f"is no ISO 8601 time; say how it is written with {hint}")
    day, clock, fraction, offset = match.groups()
    if fraction and fraction[6:].strip("0"):
        raise ValueError("is finer than a microsecond; round it where it is written")
    offset = "+00:00" if offset in ("Z", "z", "UTC") else offset or ""
    try:
        return datetime.fromisoformat(
            f"{day}T{clock or '00:00'}{'.' + fraction[:6] if fraction else ''}{offset}"
        )
    except ValueError as error:
        raise ValueError(f"is no time ({error})") from error


def _placed(when: datetime, zone: tzinfo | None) -> datetime:
    """Put a local time on the world's clock, unless that clock shows it twice or never."""
    if zone is None:
        raise _NoZone
    early, late = when.replace(tzinfo=zone, fold=0), when.replace(tzinfo=zone, fold=1)
    if early.utcoffset() != late.utcoffset():
        back = early.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
        often = "twice" if back == when else "never"
        raise ValueError(f"happens {often} in {zone}, where the clock is changed; write its offset")
    return early


def _within(us: int) -> int:
    if not _YEAR_1_US <= us < _YEAR_9999_US:
        raise ValueError("is too far away to be a time; is --epoch the right unit?")
    return us
