"""How much is needed before somebody is suspected: what chance can do accuses nobody."""

import numpy as np
import pyarrow as pa
import pytest

from knownat.clock import from_us
from tests.training.made import CUTOFF, START, make_frame, make_spec
from tests.training.suspected import look, with_column
from training.suspicion import split_strengths, too_good

FRAME = make_frame()
LABELS = FRAME["label"].to_numpy()
FIT = 2_209  # the rows asked and answered by the cutoff, the first of the frame
ROWS = len(LABELS)


def turned(labels, share):
    """Answers of which a share is wrong, of yes and of no alike: they rank with an AUC of 1 - share."""
    found = labels.copy()
    for answer in (0, 1):
        places = np.flatnonzero(labels == answer)
        due = np.floor(np.arange(len(places) + 1) * share)
        found[places[due[1:] > due[:-1]]] = 1 - answer
    return found


def told(found):
    return [(each.test, each.subject) for each in found]


@pytest.mark.parametrize(
    ("wrong", "found"), [(0.01, [("too good alone", "depot__load")]), (0.045, []), (0.1, [])]
)
def test_a_column_is_too_good_only_if_it_surely_is(wrong, found):
    # Of eleven hundred answers an AUC of 0.955 may be one of 0.94.
    assert told(look(frame=with_column(FRAME, "depot__load", turned(LABELS, wrong)))) == found


def answered(share, *, first=(), answer=1):
    """The frame with a share of yes, and ``answer`` on the rows named."""
    labels = (np.random.default_rng(3).random(ROWS) < share).astype(float)
    labels[list(first)] = answer
    return with_column(FRAME, "label", labels)


def emptied(frame, rows):
    values = np.random.default_rng(4).normal(size=ROWS)
    values[rows] = np.nan
    return with_column(frame, "depot__load", values)


@pytest.mark.parametrize(("count", "suspected"), [(39, 0), (40, 1)])
@pytest.mark.parametrize("answer", [0, 1])
def test_forty_empty_rows_of_one_answer_are_needed(count, suspected, answer):
    rows = np.arange(count) * 50
    frame = answered(0.4 if answer else 0.6, first=rows, answer=answer)
    found = look(frame=emptied(frame, rows))
    assert told(found) == [("missingness tells", "depot__load")] * suspected


@pytest.mark.parametrize(("count", "suspected"), [(39, 0), (40, 1)])
def test_forty_rows_with_a_value_are_needed_where_most_have_none(count, suspected):
    # One in twenty answers is a yes, and a few of these have the only values.
    labels, late = np.zeros(ROWS), np.arange(ROWS) % 20 == 0
    labels[late] = 1
    there = np.flatnonzero(late[:FIT])[-count:]
    gone = np.setdiff1d(np.arange(ROWS), there)
    labels[np.setdiff1d(np.flatnonzero(late[:FIT])[40:], there)] = 0
    labels[np.flatnonzero(late[:FIT])[:40]] = 0
    found = look(frame=emptied(with_column(FRAME, "label", labels), gone))
    assert [each.test for each in found].count("missingness tells") == suspected


@pytest.mark.parametrize(("answer", "suspected"), [(0, 0), (1, 1)])
def test_empty_rows_that_share_the_common_answer_say_nothing(answer, suspected):
    rows = np.arange(60) * 30
    found = look(frame=emptied(answered(0.1, first=rows, answer=answer), rows))
    assert told(found) == [("missingness tells", "depot__load")] * suspected


@pytest.mark.parametrize("answer", [0, 1])
@pytest.mark.parametrize(("wrong", "suspected"), [(0.1, 1), (0.24, 0)])
def test_emptiness_that_surely_ranks_is_named_whichever_answer_it_tells(answer, wrong, suspected):
    rows = np.flatnonzero(turned(LABELS, wrong) == answer)
    found = look(frame=emptied(FRAME, rows))
    assert told(found) == [("missingness tells", "depot__load")] * suspected


def test_what_is_emptied_after_the_cutoff_is_not_looked_at():
    rows = FIT + np.flatnonzero(LABELS[FIT:] == 1)
    assert look(frame=emptied(FRAME, rows)) == ()


def written(near, far, *, every=8):
    """A column that is wrong in some of the rows written just before the answer, and of the others."""
    lead = np.where(np.arange(ROWS) % every == 0, 1.0, 30.0)
    close = lead == 1.0
    values = np.empty(ROWS)
    values[close], values[~close] = turned(LABELS[close], near), turned(LABELS[~close], far)
    return values, lead


@pytest.mark.parametrize(
    ("near", "far", "suspected"),
    [
        (0.02, 0.5, 1),
        # It tells a little more where it is new, as what is honest does.
        (0.2, 0.5, 0),
        (0.02, 0.06, 0),
        # A hundred rows of AUC 0.95 are not surely a tenth above 0.83.
        (0.05, 0.17, 0),
    ],
)
def test_a_column_must_surely_tell_far_more_just_before_the_answer(near, far, suspected):
    values, lead = written(near, far)
    found = look(frame=with_column(FRAME, "depot__load", values), lead_hours=lead)
    assert [each.test for each in found].count("better just before the answer") == suspected


@pytest.mark.parametrize(("count", "suspected"), [(399, 0), (400, 1)])
def test_a_tenth_of_four_hundred_rows_is_the_least_that_is_judged(count, suspected):
    values, lead = written(0.0, 0.5)
    status = ["not_found"] * ROWS
    status[FIT - count : FIT] = ["present"] * count
    found = look(frame=with_column(FRAME, "depot__load", values), lead_hours=lead, status=status)
    assert [each.test for each in found].count("better just before the answer") == suspected


@pytest.mark.parametrize(
    ("near", "far", "there", "suspected"), [(0.02, 0.5, (0, 2, 4, 6), 1), (0.0, 0.08, (0, 1, 2), 0)]
)
def test_rows_without_a_value_are_neither_near_nor_far(near, far, there, suspected):
    values, lead = written(near, far, every=16)
    expired = ~np.isin(np.arange(ROWS) % 8, there)
    values[expired] = np.nan
    # Expired by its event's time, though it became known just before the answer.
    lead[expired] = 0.5 if suspected else 30.0
    status = np.where(expired, "expired", "present").tolist()
    found = look(frame=with_column(FRAME, "depot__load", values), lead_hours=lead, status=status)
    assert [each.test for each in found].count("better just before the answer") == suspected


def spells(labels, begin, end, rows):
    """Answers that stay the same for a spell of rows, which their number tells."""
    spell = np.arange(ROWS) // rows
    answers = np.random.default_rng(2).integers(0, 2, spell.max() + 1)[spell].astype(float)
    labels = labels.copy()
    labels[begin:end] = answers[begin:end]
    return with_column(with_column(FRAME, "label", labels), "depot__load", spell.astype(float))


def test_spells_that_came_after_the_cutoff_are_not_looked_at():
    toss = np.random.default_rng(5).integers(0, 2, ROWS).astype(float)
    time = {"cutoff": from_us((START + (CUTOFF - START) / 2).timestamp() * 1e6), "validation_days": 10}
    spec = {"time": {**time, "gap_hours": 12, "test_days": 50}}
    assert look(frame=spells(toss, 1_200, ROWS, 10), spec=spec) == ()
    assert told(look(frame=spells(toss, 0, ROWS, 10), spec=spec)) == [
        ("a random split beats a split by time", "split")
    ]


def test_what_few_rows_cannot_tell_from_chance_accuses_no_split():
    few = make_frame(rows=600)
    spell = np.arange(600) // 12
    dice = np.random.default_rng(0)
    answers = dice.integers(0, 2, 50)[spell] != (dice.random(600) < 0.25)
    answers, spell = answers.astype(float), spell.astype(float)
    by_time, at_random = split_strengths(spell[:447].reshape(-1, 1), answers[:447])
    assert at_random.auc - by_time.auc > 0.2
    assert look(frame=with_column(with_column(few, "label", answers), "depot__load", spell)) == ()


def test_a_split_that_cannot_be_learned_from_accuses_nobody():
    answers = np.r_[np.zeros(400), np.tile([0.0, 1.0], 100)]
    by_time, at_random = split_strengths(np.arange(600.0).reshape(-1, 1), answers)
    assert np.isnan([by_time.auc, by_time.low, by_time.high]).all()
    assert at_random.auc > 0.7


def asked(frame, gone, answers, name="parcel_id"):
    """The questions, of which some lack a key or an input."""
    column = pa.array([None if g else 7 for g in gone], pa.int64())
    place = frame.column_names.index("label")
    given = pa.array(answers, pa.float64())
    frame = frame.set_column(place, "label", given).drop_columns(["parcel_id"])
    keys = frame.append_column("parcel_id", pa.array(range(ROWS), pa.int64()))
    keys = keys.append_column("size_cm", pa.array(range(ROWS), pa.int64()))
    return keys.set_column(keys.column_names.index(name), name, column)


INPUTS = {"examples": {"sql": "x.sql", "keys": {"parcel_id": "int64"}, "inputs": {"size_cm": "int64"}}}


@pytest.mark.parametrize("name", ["parcel_id", "size_cm"])
@pytest.mark.parametrize(
    ("missing", "unanswered", "answered_too", "suspected"),
    [
        (40, 100, False, 1),
        (39, 100, False, 0),
        (40, 100, True, 0),
        # Where most are never answered, it says little that these were not.
        (60, 1_500, False, 0),
        (60, 1_499, False, 1),
    ],
)
def test_a_key_or_input_that_only_unanswered_questions_lack_is_named(
    name, missing, unanswered, answered_too, suspected
):
    place = np.arange(ROWS)
    answers = [None if row < unanswered else float(label) for row, label in zip(place, LABELS, strict=True)]
    begin = unanswered - missing + 1 if answered_too else 0
    gone = (place >= begin) & (place < begin + missing)
    found = look(asked=asked(FRAME, gone, answers, name), spec=INPUTS)
    assert told(found) == [("missingness tells", name)] * suspected


def test_a_model_better_than_possible_is_accepted_with_a_reason():
    leaks = {"too_good": 0.8, "accepted": {"metric": "The timetable is fixed a year before."}}
    (found,) = too_good(make_spec(leaks=leaks), 0.9)
    assert (found.test, found.accepted) == ("too good to be true", "The timetable is fixed a year before.")
