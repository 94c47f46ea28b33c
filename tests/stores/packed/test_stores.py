"""The laws of a store of packed rows, on LMDB and on a real Redis."""

import random
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knownat.errors import SchemaMismatch
from knownat.stores.codec import RowSchema
from knownat.stores.codec_read import RowDecoder, row_times
from knownat.stores.codec_write import canonical_rows
from knownat.stores.packed_write import Written, write_table
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowStore, Stored
from tests.stores.packed.feature_rows import NOW_US, Row, rows_of, table_of

VIEW = ViewName("shop", "orders")
SCHEMA = RowSchema.of(keys={"customer": "int64"}, features={"a": "float64", "b": "int64", "s": "string"})
# Few times and entities, so that ties and full ties are common; negative epochs too.
ROWS = rows_of(SCHEMA, entities=st.integers(-1, 2), times=st.sampled_from([-(10**15), -1, 0, 1, 10**15]))
ON_BOTH = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(store: RowStore, rows: Sequence[Row], schema: RowSchema = SCHEMA, view: ViewName = VIEW) -> Written:
    return write_table(store, view, schema, table_of(schema, rows), now_us=NOW_US)


def newest(rows: Sequence[Row]) -> set[bytes]:
    """The newest row of each entity, by plain comparison."""
    canonical = canonical_rows(SCHEMA, table_of(SCHEMA, rows))
    best: dict[int, tuple[int, int, bytes]] = {}
    for row, encoded in zip(rows, canonical, strict=True):
        rank = (row.event_us, row.created_us, encoded)
        best[row.entity] = max(best.get(row.entity, rank), rank)
    return {encoded for _, _, encoded in best.values()}


@ON_BOTH
@given(rows=st.lists(ROWS, min_size=1, max_size=12), seed=st.integers(0, 999), cut=st.integers(0, 12))
def test_writes_converge_to_the_newest_in_any_order(
    store: RowStore, rows: list[Row], seed: int, cut: int
) -> None:
    store.delete_view(VIEW)
    again = [*rows, *rows[:cut]]
    random.Random(seed).shuffle(again)
    write(store, again[:cut])
    write(store, again[cut:])

    found = dict(store.scan(VIEW))
    assert {row[27:-4] for row in found.values()} == newest(rows)
    assert len(found) == len({row.entity for row in rows})
    # What is there already changes nothing.
    assert write(store, rows).stored == 0
    assert dict(store.scan(VIEW)) == found


def test_an_older_correction_does_not_undo_a_newer_row(store: RowStore) -> None:
    assert write(store, [Row(1, 10, 10, (1.0, 1, "a"))]) == Written(1, 0, 0, 0)
    assert write(store, [Row(1, 9, 99, (2.0, 2, "b"))]) == Written(0, 1, 0, 0)
    assert write(store, [Row(1, 10, 11, (3.0, 3, "c"))]) == Written(1, 0, 0, 0)
    ((_, row),) = store.scan(VIEW)
    assert RowDecoder(SCHEMA, SCHEMA.features).values(row) == [3.0, 3, "c"]


@pytest.mark.parametrize("wide_first", [True, False])
def test_of_equal_times_the_row_with_more_features_stays(store: RowStore, wide_first: bool) -> None:
    wider = RowSchema.of(
        keys={"customer": "int64"}, features={"a": "float64", "b": "int64", "s": "string", "new": "int64"}
    )
    writes = [(wider, Row(1, 10, 10, (1.0, 1, 4, "a"))), (SCHEMA, Row(1, 10, 10, (9.0, 9, "z")))]
    for schema, row in writes if wide_first else writes[::-1]:
        write(store, [row], schema)
    ((_, row),) = store.scan(VIEW)
    assert row[17:27] == wider.identity
    assert store.schemas(VIEW) == {wider.identity: wider, SCHEMA.identity: SCHEMA}


def test_a_read_answers_in_the_order_of_the_keys(store: RowStore) -> None:
    write(store, [Row(i, i, i, (float(i), i, "x" * (i % 3))) for i in range(50)])
    keys = [key for key, _ in sorted(store.scan(VIEW))]
    asked = [keys[3], b"none", keys[1], keys[3], *keys]
    answer = store.read(asked)
    assert answer[1] is None
    assert [None if row is None else row_times(row)[0] for row in answer] == [3, None, 1, 3, *range(50)]
    assert store.read(asked[:3]) == answer[:3]
    assert store.read([]) == []


def test_a_row_that_claims_the_future_is_left_out_and_counted(store: RowStore) -> None:
    skew = 1_000_000
    early = [Row(1, NOW_US + skew + 1, 0, (1.0, 1, "")), Row(2, 0, NOW_US + skew + 1, (1.0, 1, ""))]
    rows = [*early, Row(3, NOW_US + skew, NOW_US, (1.0, 1, ""))]
    assert write(store, rows) == Written(stored=1, outranked=0, early=2, keyless=0)
    assert len(list(store.scan(VIEW))) == 1


def test_a_row_without_a_key_is_left_out_and_counted(store: RowStore) -> None:
    table = table_of(SCHEMA, [Row(1, 0, 0, (1.0, 1, "")), Row(2, 0, 0, (1.0, 1, ""))])
    keys = pa.array([None, 2], pa.int64())
    table = table.set_column(table.column_names.index("customer"), "customer", keys)
    assert write_table(store, VIEW, SCHEMA, table, now_us=NOW_US) == Written(1, 0, 0, 1)


def test_a_table_without_created_was_known_when_it_happened(store: RowStore) -> None:
    table = table_of(SCHEMA, [Row(1, 5, 7, (1.0, 1, ""))]).drop_columns("created_timestamp")
    write_table(store, VIEW, SCHEMA, table, now_us=NOW_US, created=None)
    ((_, row),) = store.scan(VIEW)
    assert row_times(row) == (5, 5)


def test_nanoseconds_are_taken_only_when_exact(store: RowStore) -> None:
    table = table_of(SCHEMA, [Row(1, 5, 7, (1.0, 1, ""))])
    at = table.column_names.index("event_timestamp")
    for nanoseconds, exact in ((5_000, True), (5_001, False)):
        column = pa.array([nanoseconds], pa.int64()).cast(pa.timestamp("ns"))
        given_ns = table.set_column(at, "event_timestamp", column)
        if exact:
            assert write_table(store, VIEW, SCHEMA, given_ns, now_us=NOW_US).stored == 1
        else:
            with pytest.raises(SchemaMismatch, match="finer than a microsecond"):
                write_table(store, VIEW, SCHEMA, given_ns, now_us=NOW_US)


def test_a_null_time_is_refused(store: RowStore) -> None:
    table = table_of(SCHEMA, [Row(1, 5, 7, (1.0, 1, ""))])
    null = pa.nulls(1, pa.timestamp("us", tz="UTC"))
    table = table.set_column(table.column_names.index("created_timestamp"), "created_timestamp", null)
    with pytest.raises(SchemaMismatch, match=r"'created_timestamp' is .* with 1 nulls"):
        write_table(store, VIEW, SCHEMA, table, now_us=NOW_US)


def test_progress_counts_every_row(store: RowStore) -> None:
    done: list[int] = []
    table = table_of(SCHEMA, [Row(i, 0, 0, (1.0, 1, "")) for i in range(7)])
    write_table(store, VIEW, SCHEMA, table, now_us=NOW_US, batch_rows=3, progress=done.append)
    assert done == [3, 3, 1]


def test_a_watermark_is_kept_and_never_goes_back(store: RowStore) -> None:
    assert store.watermark(VIEW) is None
    for us, kept in ((-5, -5), (2**53 + 1, 2**53 + 1), (2**53, 2**53 + 1), (0, 2**53 + 1)):
        store.set_watermark(VIEW, us)
        assert store.watermark(VIEW) == kept


def test_a_watermark_says_what_its_rows_were_made_from(store: RowStore) -> None:
    assert store.shape(VIEW) == b""
    for us, shape, kept in ((5, b"one", 5), (7, b"two", 7), (7, b"one", 7), (6, b"three", 7)):
        store.set_watermark(VIEW, us, shape=shape)
        assert (store.watermark(VIEW), store.shape(VIEW)) == (kept, shape)
    store.delete_view(VIEW)
    assert (store.watermark(VIEW), store.shape(VIEW)) == (None, b"")


def test_a_deleted_view_is_gone_and_its_neighbour_stays(store: RowStore) -> None:
    names = [VIEW, ViewName("shop", "orders2"), ViewName("shop", "order*"), ViewName("shop2", "orders")]
    try:
        for name in names:
            write(store, [Row(i, 0, 0, (1.0, i, "")) for i in range(3)], view=name)
            store.set_watermark(name, 5)
        assert store.delete_view(names[2]) == 3
        assert [len(list(store.scan(name))) for name in names] == [3, 3, 0, 3]
        assert store.delete_view(VIEW) == 3
        assert (store.watermark(VIEW), store.schemas(VIEW)) == (None, {})
        assert store.delete_project("shop") == 3
        assert [len(list(store.scan(name))) for name in names] == [0, 0, 0, 3]
        assert store.watermark(names[3]) == 5
    finally:
        store.delete_project("shop2")


def test_many_rows_are_scanned_once_each(store: RowStore) -> None:
    table = table_of(SCHEMA, [Row(i, 0, 0, (1.0, i, "")) for i in range(2_345)])
    assert store.write(VIEW, SCHEMA, [], []) == Stored(0, 0)
    write_table(store, VIEW, SCHEMA, table, now_us=NOW_US)
    keys = [key for key, _ in store.scan(VIEW)]
    assert len(keys) == len(set(keys)) == 2_345
