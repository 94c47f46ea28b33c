from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from knownat.clock import from_us
from monitoring.spans import chosen_windows, length_of
from monitoring.windows import windows_between

moments = st.integers(946_684_800_000_000, 1_577_836_800_000_000).map(from_us)


@given(moments, st.integers(1, 5_000), st.integers(1, 900))
def test_windows_cover_a_span_once_without_gaps(start, hours, length):
    end = start + timedelta(hours=hours)

    found = windows_between(start, end, timedelta(hours=length))

    assert (found[0].start, found[-1].end) == (start, end)
    assert all(one.end == two.start for one, two in pairwise(found))
    assert {w.end - w.start for w in found[:-1]} <= {timedelta(hours=length)}
    assert found[-1].end - found[-1].start <= timedelta(hours=length)


def test_a_year_of_weeks():
    found = chosen_windows("2013-01-01T05:00:00Z", "2014-01-01T05:00:00Z", "week", usual=timedelta(days=1))

    assert len(found) == 53
    assert found[0].start == datetime(2013, 1, 1, 5, tzinfo=UTC)
    assert found[-1].end - found[-1].start == timedelta(days=1)


def test_without_a_length_the_declared_one_counts():
    assert len(chosen_windows("2024-03-04", "2024-03-06", None, usual=timedelta(hours=12))) == 4


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("day", timedelta(days=1)),
        ("6h", timedelta(hours=6)),
        ("14d", timedelta(days=14)),
        ("4w", timedelta(28)),
    ],
)
def test_lengths_are_written_as_people_say_them(text, length):
    assert length_of(text) == length


@pytest.mark.parametrize("text", ["0d", "month", "-1d", "1.5h", "d", "1 d", "99999999w"])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(typer.BadParameter, match="is no length"):
        length_of(text)


@pytest.mark.parametrize(
    ("start", "end", "every", "told"),
    [
        ("2024-03-04", None, None, "together"),
        (None, None, "week", "together"),
        ("2024-03-05", "2024-03-04", None, "not after its start"),
        ("soon", "2024-03-04", None, "'soon' is not a time"),
    ],
)
def test_what_is_no_span_is_refused(start, end, every, told):
    with pytest.raises(typer.BadParameter, match=told):
        chosen_windows(start, end, every, usual=timedelta(days=1))
