"""Written times: exact in microseconds, or refused; a zone is never assumed."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.errors import ConfigError
from knownat.stores.csv_times import TimeRules, looks_like_times, read_times


def read(*values: str | None, **rules: str):
    lines = pl.Series(range(2, len(values) + 2))
    return read_times(pl.Series("t", list(values), pl.String), lines, TimeRules(**rules))


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2024-03-01T09:00:00Z", 1_709_283_600_000_000),
        ("2024-03-01 10:00:00.000001+01:00", 1_709_283_600_000_001),
        ("2024-03-01T09:00:00,5 UTC", 1_709_283_600_500_000),
        ("2024-03-01T09:00Z", 1_709_283_600_000_000),
        (" 2024-03-01T09:00:00z ", 1_709_283_600_000_000),
        ("2024-03-01T03:00:00.123456000-0600", 1_709_283_600_123_456),
    ],
)
def test_iso_8601_is_exact(text, us):
    found = read(text, None)
    assert (found.us.to_list(), found.problems, found.lacks_zone) == ([us, None], (), False)


def test_a_time_without_a_zone_waits_for_one():
    assert read("2024-03-01 09:00:00").lacks_zone
    named = read("2024-03-01 09:00:00", "2024-07-01 09:00:00", zone="Europe/Berlin")
    assert named.us.to_list() == [1_709_280_000_000_000, 1_719_817_200_000_000]
    assert not named.lacks_zone


def test_an_hour_that_happens_twice_or_never_is_refused():
    found = read(
        "2024-10-27 02:30:00", "2024-03-31 02:30:00", "2024-10-27 02:30:00+02:00", zone="Europe/Berlin"
    )
    where = "in Europe/Berlin, where the clock is changed; write its offset"
    assert found.problems == (
        f"column 't', line 2: '2024-10-27 02:30:00' happens twice {where}",
        f"column 't', line 3: '2024-03-31 02:30:00' happens never {where}",
    )
    assert found.us.to_list() == [None, None, 1_729_989_000_000_000]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("01/02/2024", "is no ISO 8601 time; say how it is written with --time-format"),
        ("1700000000", "is no ISO 8601 time; say how it is written with --epoch s, ms or us"),
        ("2024-02-30T00:00:00Z", "is no time (day is out of range for month)"),
        ("2024-01-01T00:00:00.0000001Z", "is finer than a microsecond"),
        ("soon", "is no ISO 8601 time"),
    ],
)
def test_what_is_no_time_is_named_by_its_line(text, reason):
    (problem,) = read("2024-01-01T00:00:00Z", text).problems
    assert problem.startswith(f"column 't', line 3: '{text}' {reason}")


def test_other_spellings_have_to_be_said():
    assert read("1.2.2024 09:30", pattern="%d.%m.%Y %H:%M", zone="UTC").us.to_list() == [
        1_706_779_800_000_000
    ]
    assert read("1", epoch="s").us.to_list() == [1_000_000]
    assert read("1700000000123", epoch="ms").us.to_list() == [1_700_000_000_123_000]
    assert read("1700000000", "x", epoch="s").problems == (
        "column 't', line 3: 'x' is no whole number of s since 1970",
    )
    for far in ("1700000000123", "-1700000000123"):
        assert "too far away" in read(far, epoch="s").problems[0]
    assert read("2024-02-01", pattern="%d.%m.%Y", zone="UTC").problems == (
        "column 't', line 2: '2024-02-01' does not fit --time-format '%d.%m.%Y'",
    )


def test_that_a_zone_is_missing_is_asked_once_and_is_no_problem_of_a_line():
    found = read("2024-03-01 09:00:00", "soon")
    assert (found.lacks_zone, len(found.problems)) == (True, 1)
    assert "'soon' is no ISO 8601 time" in found.problems[0]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "../etc", "CET+1"])
def test_a_zone_that_is_not_there_is_refused(zone):
    with pytest.raises(ConfigError, match="there is no time zone"):
        read("2024-01-01", zone=zone)


@pytest.mark.parametrize("zone", ["UTC", "utc", "Z"])
def test_utc_has_three_names(zone):
    assert read("2024-03-01 09:00", zone=zone).us.to_list() == [1_709_283_600_000_000]


def test_days_are_told_from_instants():
    assert read("2024-01-01", "2024-01-02", zone="UTC").whole_days
    assert not read("2024-01-01", "2024-01-02 10:00", zone="UTC").whole_days
    assert read("1.2.2024", zone="UTC", pattern="%d.%m.%Y").whole_days
    assert not read("1.2.2024 9", zone="UTC", pattern="%d.%m.%Y %H").whole_days
    assert looks_like_times(pl.Series(["2024-01-01", None]))
    assert not looks_like_times(pl.Series(["2024-01-01", "1"]))
    assert not looks_like_times(pl.Series([None], dtype=pl.String))


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2200-01-01"), timezones=offsets
)


@given(st.lists(moments, min_size=1))
def test_every_instant_survives_its_own_spelling(times):
    wanted = [(t - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for t in times]
    assert read(*(t.isoformat() for t in times)).us.to_list() == wanted
