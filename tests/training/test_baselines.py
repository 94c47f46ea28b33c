from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests.training.made import COLUMNS, MOMENT, START, make_frame, make_spec
from training.baselines import last_known_answers, predict_baselines
from training.dataset import lay_out
from training.split import split_by_time


def questions(*rows):
    """Rows of (shop, hour asked, answer, hour known)."""
    shops, asked, answers, known = zip(*rows, strict=True)
    return pa.table(
        {
            "shop": shops,
            "event_timestamp": pa.array([START + timedelta(hours=h) for h in asked], MOMENT),
            "label": pa.array(answers, pa.float64()),
            "label_timestamp": pa.array([h and START + timedelta(hours=h) for h in known], MOMENT),
        }
    )


def test_the_last_answer_is_the_newest_of_the_subject_that_was_known():
    asked = questions(
        ("a", 5, 1.0, 9),
        ("a", 1, 0.0, 4),
        ("b", 6, 1.0, 8),
        ("a", 9, 1.0, 20),
        ("a", 2, 3.0, 6),
        ("b", 7, None, None),
        ("a", 30, 0.0, 40),
    )
    found = last_known_answers(asked, ["shop"])
    assert found.tolist()[:1] == [0.0]
    assert np.isnan(found[[1, 2, 4, 5]]).all()
    assert found[3] == 1.0  # known at the very hour it is asked
    assert found[6] == 1.0


def with_subjects(task):
    """Questions of forty subjects, each of which mostly answers as it did before."""
    frame = make_frame(task)
    dice = np.random.default_rng(3)
    subject = dice.integers(0, 40, frame.num_rows)
    habit = dice.integers(0, 3 if task == "multiclass" else 2, 40).astype(float)
    labels = np.where(dice.random(frame.num_rows) < 0.85, habit[subject], 0.0)
    frame = frame.set_column(0, "parcel_id", pa.array(subject))
    return frame.set_column(frame.column_names.index("label"), "label", pa.array(labels))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_last_answer_tells_more_than_the_mean_of_all_where_subjects_keep_their_habits(task):
    frame = with_subjects(task)
    spec = make_spec(task, baselines=["prior", "last"])
    fold = split_by_time(frame, spec)
    data = lay_out(frame, COLUMNS, labels=frame["label"].to_numpy(), fold=fold)
    found = predict_baselines(data, spec, frame)
    truth = data.labels[fold.test]
    if task == "multiclass":
        truth = np.eye(3)[truth.astype(int)]
        assert found["last"].sum(axis=1) == pytest.approx(1.0)
    error = {name: float(((guess - truth) ** 2).mean()) for name, guess in found.items()}
    assert error["last"] < 0.7 * error["prior"]


def test_keys_of_the_last_value_may_be_named_and_must_be_keys():
    assert make_spec(last_value_keys=["parcel_id"]).last_value_keys == ("parcel_id",)
    with pytest.raises(ValueError, match="not among the examples' keys"):
        make_spec(last_value_keys=["depot"])
