from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.errors import SchemaMismatch
from training.origins import StoredSketch
from training.row_hashes import hash_rows
from training.sketch import compare, sketch

ROWS = pa.table(
    {
        "shop": pa.array([1, 2, None, 2**62], pa.int64()),
        "city": pa.array(["Cork", "", None, "Cork"]),
        "price": pa.array([1.5, -0.0, None, float("nan")]),
        "open": pa.array([True, False, None, True]),
        "paid_at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 4, pa.timestamp("us", tz="UTC")),
        "day": pa.array([date(2024, 1, 1), None, date(2024, 1, 2), date(2024, 1, 1)]),
    }
)


def hashes(numbers):
    return hash_rows(pa.table({"n": pa.array(numbers, pa.int64())}))


def test_a_hash_is_the_same_in_every_version():
    assert hashes([1, 2]).tolist() == [11120945236628417553, 2531393519944317777]


def test_every_value_of_a_row_counts():
    found = hash_rows(ROWS)
    assert len(set(found.tolist())) == 4
    for name in ROWS.column_names:
        emptied = ROWS.set_column(ROWS.column_names.index(name), name, pa.nulls(4, ROWS[name].type))
        changed = hash_rows(emptied) != found
        assert changed.tolist() == [value is not None for value in ROWS[name].to_pylist()]


def test_order_chunks_and_kinds_of_text_say_nothing():
    found = hash_rows(ROWS)
    assert (hash_rows(ROWS.select(ROWS.column_names[::-1])) == found).all()
    assert (hash_rows(pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)])) == found).all()
    large = ROWS.set_column(1, "city", ROWS["city"].cast(pa.large_string()))
    assert (hash_rows(large) == found).all()
    assert (hash_rows(ROWS.set_column(2, "price", pa.array([1.5, 0.0, None, float("nan")]))) == found).all()


def test_equal_rows_are_told_apart_by_count():
    assert len(set(hashes([7, 7, 7]).tolist())) == 3
    assert set(hashes([7, 8, 7]).tolist()) == set(hashes([8, 7, 7]).tolist())


def test_a_column_that_cannot_be_told_apart_is_named():
    with pytest.raises(SchemaMismatch, match="'tags'"):
        hash_rows(pa.table({"tags": [["a"], ["b"]]}))


@given(
    st.lists(st.integers(0, 40), max_size=60),
    st.lists(st.integers(0, 40), max_size=30),
    st.lists(st.integers(0, 40), max_size=30),
)
def test_a_difference_is_exactly_what_came_and_went(shared, gone, new):
    before, after = hashes(shared + gone), hashes(shared + new)
    found = compare(sketch(before), sketch(np.random.default_rng(1).permutation(after)))
    assert found.complete
    assert found.added == set(after.tolist()) - set(before.tolist())
    assert found.removed == set(before.tolist()) - set(after.tolist())


def test_one_row_of_many_is_found_and_too_many_are_told():
    many = list(range(100_000))
    before = sketch(hashes(many))
    found = compare(before, sketch(hashes([*many[:500], -1, *many[501:]])))
    assert (len(found.added), len(found.removed), found.complete) == (1, 1, True)
    assert compare(before, sketch(hashes(many[200:]))).complete
    assert not compare(before, sketch(hashes(many[2_000:]))).complete


def test_a_sketch_survives_being_written_down():
    made = sketch(hashes(range(50)))
    read = StoredSketch.of(made).read()
    assert read.rows == 50
    assert compare(made, read) == compare(made, made)
    assert not compare(made, read).added


def test_rows_that_fall_together_are_not_taken_for_one():
    many = list(range(5_000))
    changed = [-number if number < 100 else number for number in many]
    before, after = hashes(many), hashes(changed)
    found = compare(sketch(before), sketch(after))
    assert found.complete
    assert found.added == set(after.tolist()) - set(before.tolist())
    assert found.removed == set(before.tolist()) - set(after.tolist())
