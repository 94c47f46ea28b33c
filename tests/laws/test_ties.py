"""Rows of equal times: the join and the online stores settle on the same one, in any order of arrival."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knownat.errors import RepoError
from knownat.stores.asof import join_as_of, newest_visible
from knownat.stores.codec import RowSchema
from knownat.stores.lmdb_rows import open_lmdb
from knownat.stores.packed_write import write_table
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowStore
from knownat.stores.tables import FeatureTable
from knownat.stores.ties import payloads
from tests.soak import scale
from tests.stores.packed.feature_rows import NOW_US, Row, rows_of, schemas, table_of

VIEW = ViewName("shop", "orders")
TIMES = ("event_timestamp", "created_timestamp")


@pytest.fixture
def lmdb(tmp_path: Path) -> Iterator[RowStore]:
    store = open_lmdb(tmp_path / "rows")
    yield store
    store.close()


@st.composite
def tied_rows(draw: st.DrawFn) -> tuple[RowSchema, list[Row]]:
    schema = draw(schemas())
    rows = rows_of(schema, entities=st.integers(0, 1), times=st.sampled_from([-1, 0]))
    return schema, draw(st.lists(rows, min_size=1, max_size=12))


def feature_table(schema: RowSchema, rows: Sequence[Row] | pl.DataFrame, **changes: Any) -> FeatureTable:
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(table_of(schema, rows))
    options: dict[str, Any] = {
        "name": "orders",
        "rows": frame.lazy(),
        "keys": ("customer",),
        "event": "event_timestamp",
        "created": "created_timestamp",
        "features": tuple(sorted(field.name for field in schema.features)),
        "types": {field.name: field.dtype for field in schema.features},
    }
    return FeatureTable(**(options | changes))


@settings(max_examples=scale(150, 3_000), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=tied_rows(), seed=st.integers(0, 999), cut=st.integers(0, 12))
def test_the_offline_winner_is_the_online_winner(
    lmdb: RowStore, made: tuple[RowSchema, list[Row]], seed: int, cut: int
) -> None:
    schema, rows = made
    arrived = rows.copy()
    random.Random(seed).shuffle(arrived)
    lmdb.delete_view(VIEW)
    for some in (arrived[:cut], arrived[cut:]):
        write_table(lmdb, VIEW, schema, table_of(schema, some), now_us=NOW_US)
    online = {row[27:-4] for _, row in lmdb.scan(VIEW)}

    table = feature_table(schema, rows)
    assert set(payloads(newest_visible(table, since_us=None, until_us=NOW_US), table)) == online

    entities = sorted({row.entity for row in rows})
    asked = pl.DataFrame({"customer": entities, "at": [NOW_US] * len(entities)}).with_columns(
        pl.col("at").cast(pl.Datetime("us", "UTC"))
    )
    found = join_as_of(
        asked, table, features=table.features, keys={"customer": "customer"}, event_timestamp="at"
    )
    assert set(payloads(found.values, table)) == online


def test_a_declared_type_decides_where_a_column_lies_in_the_payload() -> None:
    # As int64, "a" stands before "b" (float32) and decides; declared int32 it stands behind it.
    frame = pl.DataFrame(
        {"customer": [1, 1], "a": [2, 1], "b": [1.0, 2.0], **{name: [0, 0] for name in TIMES}},
        schema_overrides={"b": pl.Float32, **dict.fromkeys(TIMES, pl.Datetime("us", "UTC"))},
    )
    schema = RowSchema.of(keys={"customer": "int64"}, features={"a": "int32", "b": "float32"})
    declared = feature_table(schema, frame)
    inferred = feature_table(schema, frame, types={})
    assert newest_visible(declared, since_us=None, until_us=0)["a"].to_list() == [1]
    assert newest_visible(inferred, since_us=None, until_us=0)["a"].to_list() == [2]


def test_opaque_columns_are_compared_as_their_serialised_bytes() -> None:
    frame = pl.DataFrame(
        {"customer": [1, 1], "a": [{"x": 1}, {"x": 2}], **{name: [0, 0] for name in TIMES}},
        schema_overrides=dict.fromkeys(TIMES, pl.Datetime("us", "UTC")),
    )

    def serialise(rows: pa.Table) -> pa.Table:
        # The reverse of the values' own order, so that only these bytes can have decided.
        return pa.table({"a": [bytes([9 - value["x"]]) for value in rows["a"].to_pylist()]})

    schema = RowSchema.of(keys={"customer": "int64"}, features={"a": "opaque:struct"})
    table = feature_table(schema, frame, serialise=serialise)
    assert newest_visible(table, since_us=None, until_us=0)["a"].to_list() == [{"x": 1}]


def test_tied_rows_that_no_online_store_could_hold_are_refused_by_name() -> None:
    frame = pl.DataFrame(
        {"customer": [1, 1], "a": [1.5, 2.5], **{name: [0, 0] for name in TIMES}},
        schema_overrides=dict.fromkeys(TIMES, pl.Datetime("us", "UTC")),
    )
    schema = RowSchema.of(keys={"customer": "int64"}, features={"a": "int64"})
    table = feature_table(schema, frame)
    with pytest.raises(RepoError, match="equal times cannot be told apart"):
        newest_visible(table, since_us=None, until_us=0)


def test_a_table_without_features_has_one_row_for_each_time() -> None:
    schema = RowSchema.of(keys={"customer": "int64"}, features={})
    table = feature_table(schema, [Row(1, 0, 0, ()), Row(1, 0, 0, ()), Row(2, 0, 0, ())])
    assert newest_visible(table, since_us=None, until_us=0)["customer"].sort().to_list() == [1, 2]
