"""Profiles against counting by hand, one value after another."""

import itertools
import math
from bisect import bisect_left
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from knownat.contract.grid import MOST_NAMES, NameGrid, NumberGrid
from knownat.contract.held import NEW_NAMES_KEPT
from knownat.contract.profile import Layout
from knownat.contract.profile_file import read_profile, write_profile
from knownat.contract.schema import Column
from knownat.errors import SchemaMismatch
from tests.soak import scale

VALUE = Column(name="orders__value", dtype="float64")
COUNT = Column(name="orders__count", dtype="int64")
CITY = Column(name="profile__city", dtype="category", categories=())
COLUMNS = (VALUE, COUNT, CITY)

numbers = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, 1.0, 1.0, 1e308, -1e308, 5e-324]))
counts = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 5))
cities = st.one_of(st.none(), st.text(max_size=2), st.sampled_from(["Oslo", "Rome", "Süd"]))
laws = settings(max_examples=scale(60, 3_000), deadline=None)


@st.composite
def tables(draw, least=0, most=60):
    rows = draw(st.integers(least, most))
    exactly = {"min_size": rows, "max_size": rows}
    return pa.table(
        {
            VALUE.name: pa.array(draw(st.lists(numbers, **exactly)), pa.float64()),
            COUNT.name: pa.array(draw(st.lists(counts, **exactly)), pa.int64()),
            CITY.name: pa.array(draw(st.lists(cities, **exactly)), pa.string()),
        }
    )


@st.composite
def broken_tables(draw):
    """Tables as a log may hold them: a column missing, of another type, or one too many."""
    table = draw(tables())
    kind = draw(st.sampled_from(["whole", "lacking", "texts", "more"]))
    if kind == "lacking":
        return table.drop([VALUE.name])
    if kind == "texts":
        return table.set_column(1, COUNT.name, pa.array(["?"] * table.num_rows, pa.string()))
    if kind == "more":
        return table.append_column("odd", pa.array([None, 1] * table.num_rows, pa.int64())[: table.num_rows])
    return table


def column(values, kind=None):
    return pa.table(
        {VALUE.name: pa.array(values).cast(kind) if kind == pa.bool_() else pa.array(values, kind)}
    )


def held(reference, values):
    layout = Layout.fit(column(reference, pa.float64()), [VALUE])
    return layout.count(column(values, pa.float64())).columns[VALUE.name].held


@given(tables(least=1), tables(), st.lists(st.integers(0, 60), max_size=4))
@laws
def test_the_parts_of_any_split_add_up_to_the_whole(reference, table, cuts):
    layout = Layout.fit(reference, COLUMNS)
    ends = sorted({0, *(min(cut, table.num_rows) for cut in cuts), table.num_rows})
    parts = [table.slice(a, b - a) for a, b in itertools.pairwise(ends)]

    assert layout.total(map(layout.count, parts)) == layout.count(table)


@given(tables(least=1), st.tuples(*[broken_tables()] * 3))
@laws
def test_adding_knows_no_order_and_no_grouping(reference, three):
    layout = Layout.fit(reference, COLUMNS)
    a, b, c = map(layout.count, three)

    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + layout.empty() == a


@given(tables(least=1), broken_tables())
@laws
def test_every_row_is_counted_once(reference, table):
    profile = Layout.fit(reference, COLUMNS).count(table)

    assert profile.rows == table.num_rows
    for found in profile.columns.values():
        assert found.values + found.missing + found.absent + found.mistyped == table.num_rows


@given(tables(least=1), tables())
@laws
def test_counts_are_those_of_counting_by_hand(reference, table):
    layout = Layout.fit(reference, COLUMNS)
    profile = layout.count(table)

    values = table[VALUE.name].to_pylist()
    finite = [v for v in values if v is not None and math.isfinite(v)]
    number = profile.columns[VALUE.name]
    expected = Counter(bisect_left(number.held.grid.edges, v) for v in finite)
    assert {i: n for i, n in enumerate(number.held.counts.tolist()) if n} == expected
    assert (number.held.low, number.held.high) == (min(finite, default=None), max(finite, default=None))
    assert number.held.infinite == values.count(math.inf)
    assert number.held.minus_infinite == values.count(-math.inf)
    assert number.nulls == values.count(None)
    assert number.nans == sum(v is not None and math.isnan(v) for v in values)

    names = table[CITY.name].to_pylist()
    known = {v for v in reference[CITY.name].to_pylist() if v is not None}
    city = profile.columns[CITY.name]
    assert dict(zip(city.held.grid.names, city.held.counts.tolist(), strict=True)) == {
        name: names.count(name) for name in known
    }
    assert city.held.new_names == Counter(v for v in names if v is not None and v not in known)
    assert city.nulls == names.count(None)


@given(tables(least=1), broken_tables())
@laws
def test_a_profile_survives_its_file(tmp_path_factory, reference, table):
    profile = Layout.fit(reference, COLUMNS).count(table)
    path = tmp_path_factory.mktemp("profile") / "p.parquet"

    write_profile(profile, path)
    found = read_profile(path.read_bytes(), source=path)

    assert found == profile
    assert found.layout == profile.layout
    assert found.layout.count(table) == profile


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.lists(st.floats(allow_nan=False), min_size=1))
@example([1e300], [0.0, 1.0])
@example([-1.7976931348623157e308], [-1.7976931348623157e308])
@laws
def test_quantiles_rise_within_what_was_held(reference, values):
    found = held(reference, values)
    finite = [v for v in values if math.isfinite(v)]

    quantiles = [found.quantile(k / 10) for k in range(11)]

    if not finite:
        assert quantiles == [None] * 11
    else:
        assert quantiles == sorted(quantiles)
        assert min(finite) - abs(min(finite)) * 1e-15 - 5e-324 <= quantiles[0]
        assert quantiles[-1] == max(finite)


@given(st.lists(st.integers(0, 40), min_size=1), st.lists(st.integers(0, 40), min_size=1))
@laws
def test_quantiles_of_few_values_are_exact(reference, values):
    found = held([float(v) for v in (*reference, *range(41))], [float(v) for v in values])

    for share in (0.1, 0.25, 0.5, 0.9):
        assert found.quantile(share) == sorted(values)[math.ceil(share * len(values)) - 1]


@pytest.mark.parametrize("shape", ["normal", "lognormal", "exponential", "mixture"])
@pytest.mark.parametrize(("factor", "shift"), [(1, 0), (1, 0.5), (60, 0), (1, 1e6), (-3, 0)])
def test_quantiles_are_near_also_far_outside_the_reference(shape, factor, shift):
    random = np.random.default_rng(5)
    draw = {
        "normal": random.normal,
        "lognormal": random.lognormal,
        "exponential": random.exponential,
        "mixture": lambda size: np.where(random.random(size) < 0.7, 0.0, random.exponential(9, size)),
    }[shape]
    reference, values = draw(size=20_000), draw(size=20_000) * factor + shift

    found = held(reference, values)

    spread = np.quantile(values, 0.99) - np.quantile(values, 0.01)
    # Far outside, steps are a 64th of the distance from the reference's own range.
    away = max(abs(shift) / 64, 0)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        exact = np.quantile(values, share, method="inverted_cdf")
        assert found.quantile(share) == pytest.approx(exact, abs=0.02 * spread + away)


def test_a_grid_has_buckets_below_above_and_at_heavy_values():
    random = np.random.default_rng(1)
    reference = np.sort(np.r_[random.exponential(5, 5_000), np.zeros(5_000), np.full(100, 7.0)])
    grid = NumberGrid.fit("a", reference)

    found = held(reference, [-1.0, 0.0, 7.0, 1e9])

    for value in (0.0, 7.0):
        at = bisect_left(grid.edges, value)
        assert (grid.edges[at - 1], grid.edges[at]) == (np.nextafter(value, -np.inf), value)
        assert found.counts[at] == 1
    assert (found.counts[0], found.counts[-1]) == (1, 1)
    assert grid.edges[-1] == reference.max()


def test_edges_rise_and_stay_few():
    random = np.random.default_rng(2)
    for values in (
        random.standard_cauchy(50_000),
        random.normal(size=70),
        np.arange(1e5),
        [1e308, -1e308, 0, 5e-324],
    ):
        edges = NumberGrid.fit("a", np.sort(np.asarray(values, dtype=np.float64))).edges

        assert all(one < two for one, two in itertools.pairwise(edges))
        assert len(edges) < 700


def test_names_keep_their_count_order_and_new_ones_are_named():
    layout = Layout.fit(pa.table({CITY.name: ["Rome"] * 3 + ["Oslo"] * 5 + ["Bern"] * 3}), [CITY])
    found = layout.count(pa.table({CITY.name: ["Rome", "Lagos", "Lagos", None, "Oslo", "Rome"]}))

    held_names = found.columns[CITY.name].held
    assert held_names.grid.names == ("Oslo", "Bern", "Rome")
    assert held_names.top(2) == [("Rome", 2), ("Oslo", 1)]
    assert (held_names.new, held_names.new_names) == (2, {"Lagos": 2})


def test_of_very_many_new_names_every_split_keeps_the_same_with_their_rows():
    layout = Layout.fit(pa.table({CITY.name: ["Rome"]}), [CITY])
    many = pa.table({CITY.name: [f"n{i % 3_000}" for i in range(9_000)]})

    whole = layout.count(many)
    parts = layout.total(layout.count(many.slice(i * 700, 700)) for i in range(13))

    assert parts == whole
    assert len(whole.columns[CITY.name].held.new_names) == NEW_NAMES_KEPT
    assert set(whole.columns[CITY.name].held.new_names.values()) == {3}
    assert whole.columns[CITY.name].held.new == 9_000


def test_of_too_many_names_the_grid_says_that_it_lacks_some():
    assert NameGrid.fit("a", pa.array([str(i) for i in range(MOST_NAMES)])).complete
    assert not NameGrid.fit("a", pa.array([str(i) for i in range(MOST_NAMES + 1)])).complete


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None, "b"], pa.large_string()),
        pa.array(["a", None, "b"]).dictionary_encode(),
        pa.chunked_array([["a"], [None, "b"]]),
    ],
)
def test_texts_count_alike_in_any_dress(values):
    layout = Layout.fit(pa.table({CITY.name: ["a"]}), [CITY])

    assert layout.count(pa.table({CITY.name: values})) == layout.count(
        pa.table({CITY.name: ["a", None, "b"]})
    )


@pytest.mark.parametrize("kind", [pa.int32(), pa.float32(), pa.bool_(), pa.uint8()])
def test_numbers_count_alike_in_any_dress(kind):
    layout = Layout.fit(column([0.0, 1.0]), [VALUE])

    assert layout.count(column([1, None, 0], kind)) == layout.count(column([1.0, None, 0.0]))


def test_parquet_is_profiled_in_batches_as_the_table_is(tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    table = pa.table({VALUE.name: random.normal(size=5_000), COUNT.name: random.poisson(3, 5_000)})
    layout = Layout.fit(table, [VALUE, COUNT])
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, part in zip(paths, (table.slice(0, 1_900), table.slice(1_900)), strict=True):
        pq.write_table(part, path, row_group_size=700)

    assert layout.count_parquet(paths) == layout.count(table)


def test_profiles_of_other_buckets_do_not_add_up():
    narrow, wide = (Layout.fit(column(v), [VALUE]).empty() for v in ([1.0, 2.0], [1.0, 3.0]))
    renamed = Layout.fit(pa.table({"b": [1.0]}), [Column(name="b", dtype="float64")]).empty()
    as_name = Layout.fit(
        pa.table({VALUE.name: ["a"]}), [Column(name=VALUE.name, dtype="category", categories=())]
    ).empty()

    for other in (wide, renamed, as_name):
        with pytest.raises(SchemaMismatch):
            narrow + other


def test_a_file_that_is_no_profile_is_refused_by_name(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), path)

    for content in (b"", b"PAR1", path.read_bytes()):
        with pytest.raises(SchemaMismatch, match=r"x\.parquet"):
            read_profile(content, source=path)


def test_a_file_whose_counts_do_not_fit_its_buckets_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    write_profile(Layout.fit(column([1.0, 2.0]), [VALUE]).empty(), path)
    table = pq.read_table(path)
    at = table.column_names.index("counts")
    pq.write_table(table.set_column(at, "counts", pa.array([[1, 2]])), path)

    with pytest.raises(SchemaMismatch, match="2 counts"):
        read_profile(path.read_bytes(), source=path)
