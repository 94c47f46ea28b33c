"""What looks like a leak is named in plain words, and what is honest is not."""

import numpy as np
import pyarrow as pa
import pytest

from tests.training.made import make_frame, make_spec
from tests.training.suspected import look, with_column
from training.suspicion import too_good

dice = np.random.default_rng(8)


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_an_honest_frame_is_not_suspected(task):
    assert look(task) == ()


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_a_column_that_is_the_answer_is_named(task):
    frame = make_frame(task)
    labels = frame["label"].to_numpy()
    (found,) = look(task, with_column(frame, "depot__load", labels + 0.01 * dice.normal(size=len(labels))))
    assert (found.test, found.subject) == ("too good alone", "depot__load")
    assert found.value > 0.99
    assert "Column 'depot__load' alone tells the answer" in found.words


def test_a_category_that_is_the_answer_is_named():
    frame = make_frame()
    told = ["late" if label else "on time" for label in frame["label"].to_pylist()]
    (found,) = look(frame=with_column(frame, "parcel__kind", told))
    assert found.subject == "parcel__kind"


def test_a_column_emptied_by_what_happened_later_is_named():
    frame = make_frame()
    labels = frame["label"].to_numpy()
    delay = np.where(
        (labels == 1) & (dice.random(len(labels)) < 0.2), np.nan, frame["depot__delay"].to_numpy()
    )
    (found,) = look(frame=with_column(frame, "depot__delay", delay))
    assert (found.test, found.subject) == ("missingness tells", "depot__delay")
    assert "100.0% of the answers are yes" in found.words


def test_a_key_that_only_unanswered_questions_lack_is_named():
    frame = make_frame()
    gone = dice.random(frame.num_rows) < 0.05
    asked = frame.set_column(
        0, "parcel_id", pa.array([None if g else i for i, g in enumerate(gone)], pa.int64())
    )
    at = frame.column_names.index("label")
    labels = [None if g else label for g, label in zip(gone, frame["label"].to_pylist(), strict=True)]
    (found,) = look(asked=asked.set_column(at, "label", pa.array(labels)))
    assert (found.test, found.subject) == ("missingness tells", "parcel_id")
    assert "was ever answered" in found.words


def test_a_column_written_with_the_answer_is_named():
    frame = make_frame()
    labels = frame["label"].to_numpy()
    lead = dice.exponential(20, frame.num_rows)
    near = lead < np.quantile(lead, 0.15)
    values = np.where(near, 3 + labels + 0.2 * dice.normal(size=len(labels)), dice.normal(size=len(labels)))
    found = look(frame=with_column(frame, "depot__load", values), lead_hours=lead)
    assert [(each.test, each.subject) for each in found] == [("better just before the answer", "depot__load")]


def test_rows_that_tell_on_each_other_are_noticed():
    frame = make_frame()
    hours = [when.timestamp() // 3_600 for when in frame["event_timestamp"].to_pylist()]
    # Every six hours share an answer, and a column tells which six hours they are.
    spell = np.array([int(hour // 6) for hour in hours])
    answers = dice.integers(0, 2, spell.max() + 1)[spell].astype(float)
    frame = with_column(with_column(frame, "label", answers), "depot__load", spell.astype(float))
    found = look(frame=frame)
    assert [(each.test, each.subject) for each in found] == [
        ("a random split beats a split by time", "split")
    ]


def test_what_was_looked_into_is_kept_with_its_reason():
    frame = make_frame()
    leaky = with_column(frame, "depot__load", frame["label"].to_numpy())
    (found,) = look(frame=leaky, accepted={"depot__load": "It is the plan, fixed a year before."})
    assert found.accepted == "It is the plan, fixed a year before."


@pytest.mark.parametrize(
    ("metric", "value", "suspected"), [("auc", 0.81, 1), ("auc", 0.8, 0), ("ece", 0.79, 1)]
)
def test_a_model_better_than_possible_is_suspected(metric, value, suspected):
    found = too_good(make_spec(metric=metric, leaks={"too_good": 0.8}), value)
    assert len(found) == suspected
    assert too_good(make_spec(metric=metric), value) == ()
