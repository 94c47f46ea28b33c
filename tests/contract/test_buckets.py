import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.contract.buckets import NEW, NULL, OTHER, Buckets
from knownat.contract.profile import Layout
from knownat.contract.schema import Column
from knownat.errors import SchemaMismatch

NUMBER = Column(name="orders__value", dtype="float64")
CITY = Column(name="profile__city", dtype="category", categories=("Athens", "Bergen"))

floats = st.one_of(
    st.none(), st.floats(allow_infinity=True, allow_nan=True, width=32), st.integers(0, 3).map(float)
)
texts = st.one_of(st.none(), st.sampled_from("abcdefghijklmnopqrstuvwxyz"))


def table(what, values):
    kind = pa.string() if what is CITY else pa.float64()
    return pa.table({what.name: pa.array(values, kind, from_pandas=False)})


def made_of(what, values):
    """The layout and the buckets of a reference, and its own profile."""
    layout = Layout.fit(table(what, values), [what])
    profile = layout.count(table(what, values)).columns[what.name]
    return layout, Buckets.of(profile), profile


@pytest.mark.parametrize(("what", "values"), [(NUMBER, floats), (CITY, texts)], ids=["numbers", "names"])
def test_every_row_falls_into_the_bucket_that_its_count_does(what, values):
    @given(st.lists(values), st.lists(values))
    def check(before, now):
        layout, buckets, _ = made_of(what, before)

        counts = buckets.collapse(layout.count(table(what, now)).columns[what.name])
        places = buckets.locate(table(what, now)[what.name])

        assert counts.sum() == len(now)
        assert counts.tolist() == np.bincount(places, minlength=len(buckets)).tolist()

    check()


def test_numbers_fall_into_deciles_without_an_end():
    values = np.random.default_rng(1).normal(size=10_000)
    layout, buckets, profile = made_of(NUMBER, values)

    assert buckets.collapse(profile).tolist() == [1_000] * 10 + [0]
    assert len(buckets.labels) == 11
    beyond = layout.count(table(NUMBER, [-1e9, 1e9, np.inf, -np.inf, None, np.nan])).columns[NUMBER.name]
    assert buckets.collapse(beyond).tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2]


def test_few_values_have_a_bucket_each():
    layout, buckets, _ = made_of(NUMBER, [0.0, 1.0, 1.0, 7.0] * 2)

    seen = layout.count(table(NUMBER, [1.0, 1.0, 7.0, 0.5, 8.0, -1.0, None])).columns[NUMBER.name]
    assert buckets.labels == ("0", "1", "7", NEW, NULL)
    assert buckets.collapse(seen).tolist() == [0, 2, 1, 3, 1]


def test_a_heavy_value_is_no_more_than_its_own_bucket():
    values = np.r_[np.zeros(7_000), np.random.default_rng(2).exponential(9, 3_000)]
    _, buckets, profile = made_of(NUMBER, values)

    assert buckets.labels[:2] == ("under 0", "up to 0")
    assert buckets.collapse(profile)[:2].tolist() == [0, 7_000]


def test_what_lies_beyond_a_heavy_largest_value_is_another_thing():
    # Visibility: ten miles nearly always, and never more.
    values = np.r_[np.full(8_000, 10.0), np.random.default_rng(2).uniform(0, 9.9, 2_000)]
    layout, buckets, profile = made_of(NUMBER, values)

    above = layout.count(table(NUMBER, [10.0, 10.7])).columns[NUMBER.name]
    assert buckets.labels[-2:] == ("over 10", NULL)
    assert buckets.collapse(profile)[-3:].tolist() == [8_000, 0, 0]
    assert buckets.collapse(above)[-3:].tolist() == [1, 1, 0]


def test_values_that_a_small_reference_met_only_once_have_no_bucket_each():
    _, buckets, _ = made_of(NUMBER, [0.0] * 95 + [1.0, 2.0, 3.0, 4.0, 5.0])

    assert NEW not in buckets.labels


def test_names_beyond_the_commonest_are_together_and_new_ones_apart():
    names = [f"n{i:02}" for i in range(30) for _ in range(40 - i)]
    layout, buckets, _ = made_of(CITY, names)

    seen = layout.count(table(CITY, ["n00", "n29", "n28", "Lagos", None])).columns[CITY.name]
    assert buckets.labels[-3:] == (OTHER, NEW, NULL)
    assert buckets.labels[:2] == ("n00", "n01")
    assert buckets.collapse(seen).tolist() == [1] + [0] * 19 + [2, 1, 1]


def test_a_reference_without_values_knows_only_new_ones():
    layout, buckets, _ = made_of(NUMBER, [None, None])

    seen = layout.count(table(NUMBER, [0.0, 5.0, None])).columns[NUMBER.name]
    assert buckets.labels == (NEW, NULL)
    assert buckets.collapse(seen).tolist() == [2, 1]


def test_counts_of_another_layout_are_refused():
    _, buckets, _ = made_of(NUMBER, [1.0, 2.0])
    _, _, other = made_of(NUMBER, [1.0, 3.0])

    with pytest.raises(SchemaMismatch, match="another release"):
        buckets.collapse(other)
