import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.equality import Slip, differing, slips

NAN = float("nan")


@pytest.mark.parametrize(
    ("served", "offline"),
    [
        (3.0, 3.7),
        (4.0, 3.7),
        (-3.0, -3.7),
        (float(np.float32(0.1)), 0.1),
        (float(2**53), 2**53 + 1),
        (3, 2**33 + 3),
        ("3", 3),
        (3, "3"),
        ("3", 3.0),
        (1, True),
        ("true", True),
        ("False", False),
    ],
)
def test_a_value_as_another_type_holds_it(served, offline):
    assert slips([served], [offline]) == [Slip.DTYPE]


@pytest.mark.parametrize(
    ("served", "offline"),
    [(3.1, 3.7), (0.1 + 1e-9, 0.1), (5, 6), ("a", "b"), (True, False), ("3", 4), (1.0, math.inf), ("", 0)],
)
def test_no_type_explains_this(served, offline):
    assert slips([served], [offline]) == [None]


@pytest.mark.parametrize("default", [0, 0.0, -1, "", "unknown", False])
def test_what_programs_write_for_nothing_is_a_default(default):
    assert slips([default, None], [None, default]) == [Slip.NULL_DEFAULT] * 2
    assert slips([default], [NAN]) == [Slip.NULL_DEFAULT]


def test_any_value_that_stands_for_most_nulls_is_a_default():
    assert slips([17.3, 17.3, 17.3, 5.5], [None, NAN, None, None]) == [Slip.NULL_DEFAULT] * 3 + [None]
    assert slips([17.3, 17.3], [None, None]) == [None, None]
    assert slips([], []) == []


def test_a_narrow_float_is_compared_as_one():
    served, offline = (pa.chunked_array([[value]]) for value in (float(np.float32(0.1)), 0.1))

    assert differing(served, offline).all()
    assert not differing(served, offline, declared="float32").any()
    assert differing(pa.chunked_array([[0.1001]]), offline, declared="float32").all()


def column(values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("served", "offline"),
    [
        (column([None, 1.5]), column([float("nan"), 1.5])),
        (column([3, None]), column([3.0, None])),
        (column([2**53 + 1]), column([2**53 + 1])),
        (column([None, None]), column([None, None], pa.string())),
        (column([0.0]), column([-0.0])),
        (column(["Süd", None]), column(["Süd", None], pa.large_string())),
        (column([True]), column([True])),
    ],
)
def test_equal_values_are_equal_in_any_dress(served, offline):
    assert not differing(served, offline).any()
    assert not differing(offline, served).any()


@pytest.mark.parametrize(
    ("served", "offline"),
    [
        (column([1.5]), column([None], pa.float64())),
        (column([1.5]), column([1.5000000000000002])),
        (column([2**53 + 1]), column([2**53])),
        (column([2**53 + 1]), column([float(2**53)])),
        (column([""]), column([None], pa.string())),
        (column([0.0]), column([None])),
        (column([False]), column([None], pa.bool_())),
    ],
)
def test_other_values_differ_by_any_bit(served, offline):
    assert differing(served, offline).all()
    assert differing(offline, served).all()


@given(st.lists(st.one_of(st.none(), st.floats(), st.just(float("nan")))))
def test_a_column_never_differs_from_itself(values):
    assert not differing(column(values, pa.float64()), column(values, pa.float64())).any()
