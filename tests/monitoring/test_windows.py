from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.clock import from_us
from knownat.contract.model_spec import Monitoring
from monitoring.windows import Window, due_windows

moments = st.integers(946_684_800_000_000, 2_840_140_800_000_000).map(from_us)


@given(moments, st.integers(1, 400), st.integers(0, 400))
def test_a_due_window_is_over_its_labels_are_due_and_no_newer_one_is(now, length, wait):
    rules = Monitoring(window_hours=length, label_wait_hours=wait)

    windows = due_windows(now, rules)

    hours = timedelta(hours=length)
    assert now - hours < windows[0].end <= now
    assert now - hours < windows[-1].end + timedelta(hours=wait) <= now
    assert all(window.end - window.start == hours for window in windows)


def test_days_run_from_midnight_and_weeks_from_monday():
    now = datetime(2024, 3, 7, 15, 30, tzinfo=UTC)  # a Thursday

    (day, matured) = due_windows(now, Monitoring(window_hours=24, label_wait_hours=48))
    (week,) = due_windows(now, Monitoring(window_hours=168, label_wait_hours=0))

    assert day == Window(datetime(2024, 3, 6, tzinfo=UTC), datetime(2024, 3, 7, tzinfo=UTC))
    assert matured.end == datetime(2024, 3, 5, tzinfo=UTC)
    assert (week.start, week.end) == (datetime(2024, 2, 26, tzinfo=UTC), datetime(2024, 3, 4, tzinfo=UTC))


def test_a_folder_is_named_in_utc():
    east = timezone(timedelta(hours=2))
    window = Window(datetime(2024, 3, 4, 2, tzinfo=east), datetime(2024, 3, 5, 2, tzinfo=east))

    assert window.folder == "20240304T000000Z_20240305T000000Z"


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        (datetime(2024, 3, 5, tzinfo=UTC), datetime(2024, 3, 4, tzinfo=UTC), "not after its start"),
        (datetime(2024, 3, 5, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC), "not after its start"),
        (
            datetime(2024, 3, 4, tzinfo=UTC).replace(tzinfo=None),
            datetime(2024, 3, 5, tzinfo=UTC),
            "need a time zone",
        ),
    ],
)
def test_a_window_that_is_none_is_refused(start, end, says):
    with pytest.raises(ValueError, match=says):
        Window(start, end)
