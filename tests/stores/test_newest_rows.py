"""Materialization's batches hold what one read of the window would, whatever their size."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from knownat.stores.newest_rows import newest_rows
from knownat.stores.tables import CREATED_US, EVENT_US
from tests.laws.oracle import newest, payload
from tests.laws.test_asof import HISTORIES, INSTANTS, PACKED_TYPES, table_of


@given(HISTORIES, st.none() | INSTANTS, INSTANTS, st.integers(1, 60))
def test_batches_hold_the_newest_row_that_became_visible_of_every_entity(history, since, until, values):
    found = newest_rows(table_of(history), since_us=since, until_us=until, batch_values=values)
    rows = [row for batch in found.batches for row in batch.iter_rows(named=True)]

    visible = {id(r): max(r.event, r.created) for r in history}
    fresh = [r for r in history if r.key is not None and visible[id(r)] <= until]
    fresh = [r for r in fresh if since is None or visible[id(r)] > since]
    assert found.entities == len({r.key for r in fresh}) == len({row["entity"] for row in rows})
    for key in {r.key for r in fresh}:
        want = newest([r for r in fresh if r.key == key], PACKED_TYPES)
        mine = [row for row in rows if row["entity"] == key]
        assert {(row[EVENT_US], row[CREATED_US]) for row in mine} == {(want.event, want.created)}
        assert payload(want.values, PACKED_TYPES) in [payload(row, PACKED_TYPES) for row in mine]


def test_an_empty_table_has_no_rows():
    found = newest_rows(table_of([]), since_us=None, until_us=10)
    assert (found.entities, pl.concat(list(found.batches)).height) == (0, 0)
