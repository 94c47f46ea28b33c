from datetime import timedelta

import pyarrow as pa
import pytest

from knownat.errors import ConfigError
from tests.training.made import MOMENT, START, make_spec
from training.examples import check_examples

SPEC = make_spec(
    examples={
        "sql": "late_parcel.sql",
        "keys": {"parcel_id": "int64", "city": "string"},
        "inputs": {"weight_kg": "float64"},
    }
)
LATER = START + timedelta(hours=1)


def table(**changes):
    columns = {
        "city": pa.array(["Cork", None, "Bergen"]),
        "parcel_id": pa.array([1, 2, 3], pa.int32()),
        "event_timestamp": pa.array([START] * 3, MOMENT),
        "weight_kg": pa.array([1, None, 3], pa.int64()),
        "label": pa.array([True, None, False]),
        "label_timestamp": pa.array([LATER] * 3, MOMENT),
    }
    return pa.table({name: column for name, column in {**columns, **changes}.items() if column is not None})


def problems_of(examples, spec=SPEC):
    with pytest.raises(ConfigError) as caught:
        check_examples(examples, spec, source="late_parcel.sql")
    return caught.value.problems


def test_columns_come_back_in_the_declared_order_and_types():
    found = check_examples(table(), SPEC, source="late_parcel.sql")
    assert found.column_names == [
        "parcel_id", "city", "event_timestamp", "weight_kg", "label", "label_timestamp",
    ]  # fmt: skip
    assert found["parcel_id"].to_pylist() == [1, 2, 3]
    assert found["label"].to_pylist() == [1.0, None, 0.0]
    assert found["city"].null_count == 1


def test_every_problem_of_the_columns_is_named_at_once():
    wrong = table(
        city=None,
        parcel_id=pa.array([1.5, 2, 3]),
        event_timestamp=pa.array([START.replace(tzinfo=None)] * 3, pa.timestamp("us")),
        label_timestamp=pa.array([LATER] * 3, pa.timestamp("ns", tz="UTC")),
        extra=pa.array([1, 2, 3]),
    )
    assert set(problems_of(wrong)) == {
        "returns no column 'city'",
        "returns 'extra', which the declaration does not name",
        "'parcel_id' is double; it must be int64",
        "'event_timestamp' is timestamp[us]; it must be timestamp[us, tz=UTC]",
        "'label_timestamp' is timestamp[ns, tz=UTC]; it must be timestamp[us, tz=UTC]",
    }


def test_every_problem_of_the_values_is_named_at_once():
    wrong = table(
        parcel_id=pa.array([1, 1, 3]),
        city=pa.array(["Cork", "Cork", "Cork"]),
        label=pa.array([2.0, 0.0, None]),
        label_timestamp=pa.array([START - timedelta(hours=1), None, LATER], MOMENT),
    )
    assert set(problems_of(wrong)) == {
        "'label_timestamp' is null in 1 rows that have a label",
        "'label_timestamp' is before 'event_timestamp' in 1 rows",
        "1 rows repeat the keys and time of another; a question is asked once",
        "'label' runs from 0.0 to 2.0; a binary label is 0 or 1",
    }


def test_two_null_keys_at_one_time_are_the_same_question():
    wrong = table(parcel_id=pa.array([None, None, 3], pa.int64()), city=pa.array([None, None, "Cork"]))
    assert problems_of(wrong) == ("1 rows repeat the keys and time of another; a question is asked once",)


@pytest.mark.parametrize("label", [float("nan"), float("inf")])
def test_a_label_is_a_number(label):
    assert problems_of(table(label=pa.array([label, 0.0, 1.0]))) == ("'label' holds NaN or infinity",)


def test_a_binary_label_is_no_half():
    assert problems_of(table(label=pa.array([0.5, 0.0, 1.0]))) == (
        "'label' runs from 0.0 to 1.0; a binary label is 0 or 1",
    )


def test_a_question_without_a_time_is_a_problem():
    asked = pa.array([START, None, LATER], MOMENT)
    assert "'event_timestamp' is null in 1 rows" in problems_of(table(event_timestamp=asked))


def test_no_rows_are_a_problem():
    assert problems_of(table().slice(0, 0)) == ("returns no rows",)


def test_classes_are_numbered():
    spec = make_spec("multiclass", examples=SPEC.examples.model_dump())
    told = problems_of(table(label=pa.array([0.5, 1.0, 2.0])), spec)
    assert told == ("'label' must be the number of a class: 0, 1, 2, ...",)


def test_a_weight_is_checked_where_there_is_an_answer():
    weighted = make_spec(examples={"sql": "a.sql", "keys": {"parcel_id": "int64"}, "weight": "worth"})

    def asked(*weights):
        return table(city=None, weight_kg=None, worth=pa.array(weights, pa.float64()))

    found = check_examples(asked(2.0, None, 0.5), weighted, source="a.sql")
    assert found["worth"].to_pylist() == [2.0, None, 0.5]
    assert problems_of(asked(None, 1.0, 1.0), weighted) == (
        "weight 'worth' is null in 1 rows that have a label",
    )
    assert problems_of(asked(-1.0, 1.0, float("nan")), weighted) == (
        "weight 'worth' is negative, NaN or infinite in 2 rows",
    )
    assert problems_of(asked(0.0, 1.0, 0.0), weighted) == ("weight 'worth' is 0 in every row",)
