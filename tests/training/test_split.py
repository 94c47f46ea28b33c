from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.errors import ConfigError
from tests.training.made import CUTOFF, MOMENT, START, make_frame, make_spec
from training.split import keep_answered, microseconds, split_by_time

# Half of the questions are asked where sides meet: within two days of a boundary.
HOURS = st.integers(0, 100 * 24) | st.integers(48 * 24, 52 * 24) | st.integers(58 * 24, 62 * 24)
QUESTIONS = st.lists(
    st.tuples(HOURS, st.integers(0, 24) | st.integers(0, 30 * 24), st.sampled_from([0.0, 1.0, None])),
    max_size=60,
)


def table(questions):
    asked = [START + timedelta(hours=hour) for hour, _, _ in questions]
    known = [when + timedelta(hours=wait) for when, (_, wait, _) in zip(asked, questions, strict=True)]
    return pa.table(
        {
            "event_timestamp": pa.array(asked, MOMENT),
            "label_timestamp": pa.array(known, MOMENT),
            "label": pa.array([label for _, _, label in questions], pa.float64()),
        }
    )


# One of each side and answer, so that no side is empty.
WHOLE = [(hour, 1, label) for hour in (24, 52 * 24, 61 * 24) for label in (0.0, 1.0)]


@given(QUESTIONS)
def test_a_model_is_made_of_what_was_known_and_judged_on_what_came_after(questions):
    spec = make_spec()
    kept = keep_answered(table(WHOLE + questions), spec.time)
    fold = split_by_time(kept, spec)
    asked, known = (np.array(kept[name].to_pylist()) for name in ("event_timestamp", "label_timestamp"))
    boundary, gap = CUTOFF - timedelta(days=10), timedelta(hours=12)

    assert (known[fold.fit] <= CUTOFF).all()
    assert (asked[fold.fit] < CUTOFF - gap).all()
    assert (known[fold.train] <= boundary).all()
    assert (asked[fold.train] < boundary - gap).all()
    assert (asked[fold.validation] >= boundary).all()
    assert (asked[fold.test] >= CUTOFF).all()
    assert (asked[fold.test] < CUTOFF + timedelta(days=20)).all()
    assert kept["label"].null_count == 0
    assert set(fold.train) | set(fold.validation) <= set(fold.fit)
    assert set(fold.fit) | set(fold.test) == set(range(len(kept)))


@given(QUESTIONS)
def test_nothing_that_could_be_used_is_dropped(questions):
    spec = make_spec()
    kept = keep_answered(table(WHOLE + questions), spec.time)
    usable = [
        (h, w, label)
        for h, w, label in WHOLE + questions
        if label is not None and (((h < 59.5 * 24) and h + w <= 60 * 24) or 60 * 24 <= h < 80 * 24)
    ]
    assert kept.num_rows == len(usable)


def test_boundaries_belong_to_the_newer_side():
    at_cutoff = [(60 * 24, 0, 1.0), (80 * 24, 0, 1.0), (59 * 24 + 12, 0, 1.0), (50 * 24, 0, 1.0)]
    kept = keep_answered(table(WHOLE + at_cutoff), make_spec().time)
    fold = split_by_time(kept, make_spec())
    hours = np.array([(when - START) / timedelta(hours=1) for when in kept["event_timestamp"].to_pylist()])
    assert sorted(hours[fold.test]) == [60 * 24, 61 * 24, 61 * 24]
    assert sorted(hours[fold.validation]) == [50 * 24, 52 * 24, 52 * 24]


def test_the_gap_before_either_boundary_belongs_to_no_side():
    # Answered at once, so that nothing but the gap of twelve hours keeps them out.
    asked = [(50 * 24 - 13, 0, 1.0), (50 * 24 - 12, 0, 1.0), (50 * 24 - 1, 0, 1.0), (60 * 24 - 12, 0, 1.0)]
    fold = split_by_time(table(WHOLE + asked), make_spec())
    first = len(WHOLE)
    assert {first, first + 1, first + 2} & set(fold.train) == {first}
    assert {first, first + 1, first + 2, first + 3} & set(fold.fit) == {first, first + 1, first + 2}
    assert not {first, first + 1, first + 2, first + 3} & set(fold.validation)


def test_every_empty_or_one_sided_side_is_named():
    frame = table([(24, 1, 1.0), (25, 1, 1.0), (61 * 24, 1, 0.0)])
    with pytest.raises(ConfigError) as caught:
        split_by_time(frame, make_spec())
    listed = str(caught.value)
    assert "the validation side has no answered question" in listed
    assert "the train side's 2 answers are all 1" in listed
    assert "the test side's 1 answers are all 0" in listed


def test_a_time_that_is_not_known_yet_is_after_all_others():
    known, unknown = microseconds(pa.chunked_array([pa.array([CUTOFF, None], MOMENT)]))
    assert unknown > known


def test_a_regression_may_have_equal_labels():
    frame = make_frame("regression")
    constant = frame.set_column(frame.column_names.index("label"), "label", pa.array(np.ones(len(frame))))
    assert len(split_by_time(constant, make_spec("regression")).test)
