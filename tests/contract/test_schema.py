import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from knownat.contract.schema import Column, FeatureSchema
from knownat.errors import SchemaMismatch

SCHEMA = FeatureSchema(
    columns=(
        Column(name="v__count", dtype="int64"),
        Column(name="v__mean", dtype="float64"),
        Column(name="v__open", dtype="bool"),
        Column(name="v__city", dtype="category", categories=("Bergen", "Cork")),
    )
)
ROW = {"v__count": [3], "v__mean": [0.5], "v__open": [True], "v__city": ["Cork"]}


def test_the_schema_orders_the_columns_not_the_caller():
    backwards = dict(reversed(ROW.items())) | {"v__unused": ["x"]}
    assert SCHEMA.matrix(backwards).tolist() == [[3.0, 0.5, 1.0, 1.0]]


def test_a_null_and_an_unseen_category_take_the_branch_of_the_missing():
    row = {"v__count": [None], "v__mean": [None], "v__open": [None], "v__city": ["Dijon"]}
    assert np.isnan(SCHEMA.matrix(row)).all()


@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.integers(-(2**53), 2**53),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.booleans(),
            st.none() | st.sampled_from(["Bergen", "Cork", "Dijon", ""]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_lists_and_tables_give_the_same_matrix(rows):
    lists = {name: list(values) for name, values in zip(SCHEMA.names, zip(*rows, strict=True), strict=True)}
    kinds = [pa.int64(), pa.float64(), pa.bool_(), pa.string()]
    table = pa.table({n: pa.array(v, k) for (n, v), k in zip(lists.items(), kinds, strict=True)})
    assert np.array_equal(SCHEMA.matrix(lists), SCHEMA.matrix(table), equal_nan=True)


def test_integers_that_a_null_made_floats_are_taken_back():
    assert SCHEMA.matrix({**ROW, "v__count": [float("nan")]})[0, 0] != 3
    assert SCHEMA.matrix({**ROW, "v__count": [4.0]})[0, 0] == 4


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("v__count", [1.5]),
        ("v__count", [2.0**53 + 2]),
        ("v__count", ["3"]),
        ("v__mean", ["0.5"]),
        ("v__mean", [1, "x"]),
        ("v__open", [1]),
        ("v__city", [7]),
    ],
)
def test_values_of_another_type_are_refused_by_column(column, values):
    with pytest.raises(SchemaMismatch, match=column):
        SCHEMA.matrix(
            {name: values if name == column else given * len(values) for name, given in ROW.items()}
        )


def test_missing_columns_are_all_named():
    with pytest.raises(SchemaMismatch, match=r"\['v__open', 'v__city'\]"):
        SCHEMA.matrix({"v__count": [1], "v__mean": [1.0]})


def test_categories_go_with_a_category_column_only():
    with pytest.raises(ValidationError, match="categories go with"):
        Column(name="v__mean", dtype="float64", categories=("a",))
    with pytest.raises(ValidationError, match="categories go with"):
        Column(name="v__city", dtype="category")
