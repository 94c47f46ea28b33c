from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan
from tests.training.made import COLUMNS, MOMENT, make_frame, make_spec
from training.dataset import lay_out
from training.frame import Joined
from training.split import split_by_time
from training.strength import as_yes_or_no, judged_alone, strength
from training.suspicion import suspect, too_good

dice = np.random.default_rng(8)
KEY = PlanKey(view_key="parcel_id", request_key="parcel_id", dtype="int64")
VIEW = PlanView(name="depot", keys=(KEY,), ttl_us=0, features=(PlanFeature(name="load", dtype="float64"),))
PLAN = ReadPlan(project="parcels", feature_service="late_parcel", views=(VIEW,), output_columns=COLUMNS)


def look(task="binary", frame=None, asked=None, lead_hours=None, **leaks):
    """Look for leaks in a frame; ``lead_hours`` is how long before the answer each row was written."""
    frame = make_frame(task) if frame is None else frame
    spec = make_spec(task, leaks=leaks)
    lead = np.full(frame.num_rows, 30.0) if lead_hours is None else lead_hours
    known = frame["label_timestamp"].to_pylist()
    created = [when - timedelta(hours=float(h)) for when, h in zip(known, lead, strict=True)]
    rows = pa.table(
        {
            "depot__created_timestamp": pa.array(created, MOMENT),
            "depot__status": ["present"] * frame.num_rows,
        }
    )
    fold = split_by_time(frame, spec)
    data = lay_out(frame, COLUMNS, labels=frame["label"].to_numpy(), fold=fold)
    return suspect(spec, Joined(frame, rows, PLAN, {}), data, frame if asked is None else asked)


def with_column(frame, name, values):
    at = frame.column_names.index(name)
    return frame.set_column(at, name, pa.array(values, from_pandas=True))


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


def test_the_strength_of_a_column_is_its_auc_with_an_error_that_shrinks():
    answers = np.tile([0.0, 1.0], 2_000)
    scores = answers + dice.normal(size=4_000)
    small, large = strength(scores[:400], answers[:400]), strength(scores, answers)
    assert large.low < large.auc < large.high
    # Two normal groups one deviation apart rank with an AUC of 0.76.
    assert abs(large.auc - 0.76) < 0.02
    assert small.high - small.low > 2.5 * (large.high - large.low)
    assert strength(answers, answers).low > 0.99
    assert np.isnan(strength(scores, np.ones(4_000)).auc)


def test_a_column_is_judged_on_rows_it_was_not_learned_from():
    answers = dice.integers(0, 2, 2_000).astype(float)
    # A category a row: learned by heart on the earlier half, it says nothing of the later one.
    scores = judged_alone(np.arange(2_000, dtype=float), answers, categorical=True)
    assert len(np.unique(scores)) == 1


def test_answers_of_any_task_become_two():
    assert as_yes_or_no(np.array([1.0, 2.0, 9.0]), make_spec("regression")).tolist() == [0, 0, 1]
    assert as_yes_or_no(np.array([2.0, 2.0, 1.0]), make_spec("multiclass")).tolist() == [1, 1, 0]
