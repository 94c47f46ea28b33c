"""Slices of visible time: every row in one of them, none too large, whatever the distribution."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.stores.asof import join_as_of, newest_visible
from knownat.stores.slices import time_slices
from knownat.stores.tables import FeatureTable, Window

US = pl.Datetime("us", "UTC")
# A few instants close together, and some far away, before and after the epoch.
TIMES = st.integers(-5, 5) | st.sampled_from([-(10**15), 10**12, 10**15])
ROWS = st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=40)


def table_of(times: list[tuple[int, int]], unit: Any = US, **changes: Any) -> FeatureTable:
    rows = pl.DataFrame(times, schema=["event", "created"], orient="row").cast(unit)
    rows = rows.with_columns(key=pl.lit(1), value=pl.int_range(pl.len()))
    settings = {"keys": ("key",), "event": "event", "created": "created", "features": ("value",)}
    return FeatureTable(name="orders", rows=rows.lazy(), **settings | changes)


@given(ROWS, st.integers(1, 12), st.booleans())
def test_slices_hold_every_row_once_and_no_more_than_they_may(
    times: list[tuple[int, int]], most_rows: int, cutoff: bool
) -> None:
    slices = time_slices(table_of(times), Window(created_cutoff=cutoff), most_rows=most_rows)
    visible = [max(row) if cutoff else row[0] for row in times]
    inside = [sum(one.since_us < at <= one.until_us for at in visible) for one in slices]
    assert inside == [one.rows for one in slices]
    assert sum(inside) == len(times)
    assert all(a.until_us <= b.since_us for a, b in pairwise(slices))
    for one in slices:
        assert one.rows <= most_rows or one.until_us - one.since_us == 1


def test_rows_beside_one_another_share_a_slice() -> None:
    slices = time_slices(table_of([(at, at) for at in range(10)]), Window(), most_rows=5)
    assert [one.rows for one in slices] == [5, 5]


def test_only_what_the_window_shows_is_sliced() -> None:
    table = table_of([(0, 0), (1, 9), (2, 2), (3, 3)])
    (one,) = time_slices(table, Window(until_us=5, event_from_us=2), most_rows=9)
    assert (one.since_us, one.until_us, one.rows) == (1, 3, 2)
    assert time_slices(table, Window(until_us=-5), most_rows=9) == []


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_slices_are_in_microseconds_whatever_the_unit(unit: Any) -> None:
    table = table_of([(-7, -7), (7, 7)])
    rows = table.rows.with_columns(pl.col("event", "created").dt.cast_time_unit(unit))
    table = replace(table, rows=rows.with_columns(pl.col("event", "created") + pl.duration(seconds=1)))
    slices = time_slices(table, Window(), most_rows=1)
    expected = [1_000_000 - 7, 1_000_000 + 7] if unit != "ms" else [999_000, 1_000_000]
    assert [one.until_us for one in slices] == expected


def test_rows_of_a_narrowed_table_are_read_from_where_they_are() -> None:
    whole = table_of([(at, at) for at in range(6)]).numbered()
    for rows in (whole.rows.filter(pl.col("value") % 2 == 1), whole.rows.slice(3, 1)):
        narrowed = replace(whole, rows=rows)
        assert newest_visible(narrowed, since_us=None, until_us=4)["value"].to_list() == [3]
        asked = pl.DataFrame({"key": [1], "at": [4]}).with_columns(pl.col("at").cast(US))
        found = join_as_of(asked, narrowed, features=["value"], keys={"key": "key"}, event_timestamp="at")
        assert found.values["value"].to_list() == [3]


def test_a_year_of_one_and_of_ten_thousand_are_within_reach() -> None:
    first, last = -62_135_596_800_000_000, 253_402_300_799_999_999
    table = table_of([(first, first), (0, 0), (last, last)])
    assert [one.rows for one in time_slices(table, Window(), most_rows=1)] == [1, 1, 1]
    asked = pl.DataFrame({"key": [1, 1, 1], "at": [first, -1, last]}).with_columns(pl.col("at").cast(US))
    for most_rows in (1, 9):
        found = join_as_of(
            asked,
            table,
            features=["value"],
            keys={"key": "key"},
            event_timestamp="at",
            most_rows=most_rows,
        )
        assert found.values["value"].to_list() == [0, 0, 2]
