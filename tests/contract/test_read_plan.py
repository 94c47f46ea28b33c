"""Keys are never coerced into another entity's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.contract.read_plan import check_key, check_keys
from knownat.errors import BadKey
from tests.serving.fakes import PLAN

ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.integers())
)


@given(dtype=st.sampled_from(["int64", "string"]), value=ANYTHING)
def test_a_key_comes_back_as_it_is_or_not_at_all(dtype, value):
    try:
        checked = check_key("id", dtype, value)
    except BadKey:
        return
    assert checked is value
    assert type(checked) in {"int64": {int, type(None)}, "string": {str, type(None)}}[dtype]


REFUSED = [
    ("int64", True), ("int64", 1.0), ("int64", 1.5), ("int64", "1"), ("int64", "1_0"), ("int64", 2**63),
    ("int64", -(2**63) - 1), ("int64", 10**30), ("string", 1), ("string", True), ("string", b"a"),
    ("string", ""), ("string", "a\0"), ("string", "\ud800"), ("string", "x" * 1025), ("string", "ü" * 513),
]  # fmt: skip
TAKEN = [("int64", 2**63 - 1), ("int64", -(2**63)), ("int64", None), ("string", "1_0"), ("string", "ü" * 512)]


@pytest.mark.parametrize(("dtype", "value"), REFUSED, ids=lambda v: repr(v)[:24])
def test_what_could_mean_another_entity_is_refused(dtype, value):
    with pytest.raises(BadKey, match="'id'"):
        check_key("id", dtype, value)


@pytest.mark.parametrize(("dtype", "value"), TAKEN, ids=lambda v: repr(v)[:24])
def test_what_means_one_entity_is_taken(dtype, value):
    assert check_key("id", dtype, value) == value


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"customer_id": [1]}, r"\['sku'\] are missing"),
        ({"customer_id": [1], "sku": ["a"], "other": [1]}, "1 unknown"),
        ({"customer_id": [1, 2], "sku": ["a"]}, "same number of rows"),
    ],
)
def test_keys_are_those_of_the_plan(keys, says):
    with pytest.raises(BadKey, match=says):
        check_keys(PLAN, keys)
