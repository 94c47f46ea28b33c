"""Feast's declared types: packed exactly, refused by name, and given back as Feast's values."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast import types as feast_types
from feast.feature_view import DUMMY_ENTITY_ID
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import NULL, Int64List, Int64Set, Map, Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)

from knownat.errors import BadKey, SchemaMismatch
from knownat.stores.codec import RowField, RowSchema
from knownat.stores.codec_read import RowDecoder
from knownat.stores.codec_write import encode_rows
from knownat.stores.feast_types import key_types, packed_table, packed_types, row_schema, value_bytes
from knownat.stores.feast_values import key_columns, row_values, value_maker, values_column

MOMENT = datetime(2013, 3, 31, 1, 0, 0, 999_999, tzinfo=UTC)
TEXT_MAP = pa.map_(pa.string(), pa.string())
CUSTOMER = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)


def view_of(**types: FeastType) -> FeatureView:
    named = {"customer_id": Int64, **types}
    schema = [Field(name=name, dtype=dtype) for name, dtype in named.items()]
    return FeatureView(name="orders", entities=[CUSTOMER], schema=schema)


def table_of(column: pa.Array) -> pa.Table:
    return pa.table({"customer_id": pa.array(range(len(column)), pa.int64()), "a": column})


def stored(schema: RowSchema, table: pa.Table) -> list[object]:
    """The values of feature ``a`` after they were packed into rows and decoded."""
    zeros = np.zeros(table.num_rows, dtype=np.int64)
    keys = [b"k"] * table.num_rows
    rows = encode_rows(schema, table, keys=keys, event_us=zeros, created_us=zeros)
    decoder = RowDecoder(schema, schema.features)
    (column,) = decoder.columns(rows, decoder.records(rows))
    return column


def feast_values(dtype: FeastType, column: pa.Array) -> list[Value]:
    """A column as Feast reads it back, once it was stored."""
    view = view_of(a=dtype)
    schema = row_schema(view)
    return list(
        map(value_maker(schema.features[0].dtype), stored(schema, packed_table(view, table_of(column))))
    )


NATIVE: list[tuple[FeastType, str, pa.Array]] = [
    (Bytes, "bytes", pa.array([b"x", None, b""])),
    (PdfBytes, "bytes", pa.array([b"%PDF", None])),
    (String, "string", pa.array(["é", None, ""])),
    (Int32, "int32", pa.array([-(2**31), None, 7], pa.int32())),
    (Int64, "int64", pa.array([2**63 - 1, None, 2**53 + 1], pa.int64())),
    (Float32, "float32", pa.array([0.5, None], pa.float32())),
    (Float64, "float64", pa.array([0.1, None, -math.inf])),
    (Bool, "bool", pa.array([True, None, False])),
    (UnixTimestamp, "timestamp", pa.array([datetime(1969, 12, 31, tzinfo=UTC), None])),
    (Array(Bytes), "list<bytes>", pa.array([[b"x", b""], None, []])),
    (Array(String), "list<string>", pa.array([["a", ""], None, []])),
    (Array(Int32), "list<int32>", pa.array([[1, 2], None, []], pa.list_(pa.int32()))),
    (Array(Int64), "list<int64>", pa.array([[2**53 + 1], None, []])),
    (Array(Float32), "list<float32>", pa.array([[0.5], None, []], pa.list_(pa.float32()))),
    (Array(Float64), "list<float64>", pa.array([[0.1, 2.0], None, []])),
    (Array(Bool), "list<bool>", pa.array([[True, False], None, []])),
    (Array(UnixTimestamp), "list<timestamp>", pa.array([[datetime(2013, 1, 1, tzinfo=UTC)], None])),
]
OPAQUE: list[tuple[FeastType, str, pa.Array]] = [
    (feast_types.Map, "MAP", pa.array([{"b": "2", "a": "1"}, None], TEXT_MAP)),
    (
        Array(feast_types.Map),
        "MAP_LIST",
        pa.array([[{"a": "1"}], None], pa.list_(pa.map_(pa.string(), pa.string()))),
    ),
    (Json, "JSON", pa.array(['{"a": [1, null]}', None])),
    (Struct({"x": Int64, "y": String}), "STRUCT", pa.array([{"x": 1, "y": "b"}, None])),
    (Set(Int64), "INT64_SET", pa.array([[3, 1, 10], None])),
    (Set(String), "STRING_SET", pa.array([["b", "a"], None])),
    (Uuid, "UUID", pa.array(["7d444840-9dc0-11d1-b245-5ffdce74fad2", None])),
    (Decimal, "DECIMAL", pa.array(["1.10", None])),
    (Array(Array(Int64)), "VALUE_LIST", pa.array([[[1, 2], [3]], None])),
    (ZonedTimestamp, "ZONED_TIMESTAMP", pa.array([datetime(2013, 1, 1, tzinfo=UTC), None])),
]


@pytest.mark.parametrize(("dtype", "packed", "column"), NATIVE, ids=[packed for _, packed, _ in NATIVE])
def test_a_native_type_comes_back_as_feast_itself_would_give_it(
    dtype: FeastType, packed: str, column: pa.Array
) -> None:
    assert packed_types(view_of(a=dtype)) == {"a": packed}
    wanted = python_values_to_proto_values(column.to_pylist(), dtype.to_value_type())
    wanted = [w if given.is_valid else Value() for w, given in zip(wanted, column, strict=True)]
    assert feast_values(dtype, column) == wanted


@pytest.mark.parametrize(("dtype", "name", "column"), OPAQUE, ids=[name for _, name, _ in OPAQUE])
def test_any_other_type_is_feasts_own_message(dtype: FeastType, name: str, column: pa.Array) -> None:
    assert packed_types(view_of(a=dtype)) == {"a": f"opaque:{name}"}
    given = column.to_pylist(maps_as_pydicts="strict")
    present = python_values_to_proto_values([v for v in given if v is not None], dtype.to_value_type())
    wanted = [feast_value_type_to_python_type(v) for v in present]
    found = feast_values(dtype, column)
    assert [feast_value_type_to_python_type(v) for v in found if v.WhichOneof("val")] == wanted
    assert [v.WhichOneof("val") is None for v in found] == [v is None for v in given]


@pytest.mark.parametrize(
    ("dtype", "packed", "column"), [*NATIVE, *OPAQUE], ids=[p for _, p, _ in [*NATIVE, *OPAQUE]]
)
def test_values_and_arrow_are_stored_as_the_same_bytes(
    dtype: FeastType, packed: str, column: pa.Array
) -> None:
    del packed
    view = view_of(a=dtype)
    (field,) = row_schema(view).features
    given = column.to_pylist(maps_as_pydicts="strict")
    present = iter(python_values_to_proto_values([v for v in given if v is not None], dtype.to_value_type()))
    values = [Value() if v is None else next(present) for v in given]
    assert values_column(field, values).equals(packed_table(view, table_of(column))["a"].combine_chunks())


def test_a_time_keeps_its_microseconds_in_the_row_and_loses_them_in_feasts_value() -> None:
    view, column = view_of(a=UnixTimestamp), pa.array([MOMENT, datetime(1969, 12, 31, 23, 59, 59, 1, UTC)])
    assert stored(row_schema(view), packed_table(view, table_of(column))) == column.to_pylist()
    assert [v.unix_timestamp_val for v in feast_values(UnixTimestamp, column)] == [1_364_691_600, -1]


REFUSED: list[tuple[FeastType, pa.Array, str]] = [
    (Int64, pa.array([3.7]), "cannot hold exactly"),
    (Int64, pa.array([float(2**53), None]), "beyond what its declared int64 and a double"),
    (Array(Int64), pa.array([[float(2**60)]]), "beyond what its declared"),
    (Int32, pa.array([2**31]), "cannot hold exactly"),
    (Float64, pa.array([2**53 + 1]), "cannot hold exactly"),
    (Float32, pa.array([1e300]), "beyond what its declared float32"),
    (Int64, pa.array([True]), "its view declares int64"),
    (Int64, pa.array(["1"]), "its view declares int64"),
    (String, pa.array([1]), "its view declares string"),
    (UnixTimestamp, pa.array([1]), "its view declares timestamp"),
    (Array(Int64), pa.array([[1, None]]), "null items"),
    (Json, pa.array(["{no json"]), "do not fit its declared JSON"),
    (Uuid, pa.array([b"x"]), "do not fit its declared UUID"),
    (feast_types.Map, pa.array(["[1]"]), "do not fit its declared MAP"),
    (ZonedTimestamp, pa.array([MOMENT]), "fractions of a second"),
    (Set(UnixTimestamp), pa.array([[MOMENT]]), "fractions of a second"),
]


@pytest.mark.parametrize(("dtype", "column", "why"), REFUSED, ids=[f"{c.type} as {d}" for d, c, _ in REFUSED])
def test_what_does_not_fit_is_refused_by_name(dtype: FeastType, column: pa.Array, why: str) -> None:
    with pytest.raises(SchemaMismatch, match=f"orders: .*{why}"):
        packed_table(view_of(a=dtype), table_of(column))


def test_integers_with_nulls_are_exact_in_pandas_own_type_and_refused_as_doubles() -> None:
    big = 2**53 + 1
    exact = pd.DataFrame({"customer_id": [1, 2], "a": pd.array([big, None], dtype="Int64")})
    view = view_of(a=Int64)
    assert packed_table(view, pa.Table.from_pandas(exact))["a"].to_pylist() == [big, None]
    lost = pd.DataFrame({"customer_id": [1, 2], "a": [big, None]})
    with pytest.raises(SchemaMismatch, match="orders: Feature 'a' holds double"):
        packed_table(view, pa.Table.from_pandas(lost))


def test_missing_unknown_and_repeated_columns_are_named() -> None:
    view = view_of(a=Int64, b=Int64)
    table = table_of(pa.array([1]))
    with pytest.raises(SchemaMismatch, match=r"lack \['b'\], and have \[\]"):
        packed_table(view, table)
    wide = table.append_column("b", pa.array([1])).append_column("c", pa.array([1]))
    with pytest.raises(SchemaMismatch, match=r"lack \[\], and have \['c'\]"):
        packed_table(view, wide)
    assert packed_table(view, wide, carried=["c"]).column_names == ["customer_id", "a", "b", "c"]
    twice = pa.Table.from_arrays([pa.array([1])] * 4, names=["customer_id", "a", "b", "b"])
    with pytest.raises(SchemaMismatch, match="each once"):
        packed_table(view, twice)


def test_keys_are_typed_and_a_view_without_entities_has_none() -> None:
    assert key_types(view_of(a=Int64)) == {"customer_id": "int64"}
    alone = FeatureView(name="all", entities=[], schema=[Field(name="a", dtype=Int64)])
    assert key_types(alone) == {}
    unapplied = FeatureView(name="new", entities=[CUSTOMER], schema=[Field(name="a", dtype=Int64)])
    with pytest.raises(SchemaMismatch, match=r"new: .*Apply the view first"):
        row_schema(unapplied)
    price = Entity(name="price", join_keys=["price"], value_type=ValueType.DOUBLE)
    by_price = FeatureView(
        name="odd",
        entities=[price],
        schema=[Field(name="price", dtype=Float64), Field(name="a", dtype=Int64)],
    )
    with pytest.raises(SchemaMismatch, match=r"odd: keys \{'price': 'DOUBLE'\}"):
        row_schema(by_price)


def test_equal_sets_and_maps_have_equal_bytes() -> None:
    one, other = Value(int64_set_val=Int64Set(val=[10, 9, 1])), Value(int64_set_val=Int64Set(val=[1, 10, 9]))
    assert value_bytes(one) == value_bytes(other)
    assert value_bytes(Value(int64_list_val=Int64List(val=[2, 1]))) != value_bytes(
        Value(int64_list_val=Int64List(val=[1, 2]))
    )
    names = [f"k{i}" for i in range(30)]
    maps = [
        Value(map_val=Map(val={name: Value(int64_val=1) for name in some})) for some in (names, names[::-1])
    ]
    assert value_bytes(maps[0]) == value_bytes(maps[1])
    (scalar,) = python_values_to_proto_values([{1: "a", 2: "b"}], ValueType.SCALAR_MAP)
    (turned,) = python_values_to_proto_values([{2: "b", 1: "a"}], ValueType.SCALAR_MAP)
    assert value_bytes(scalar) == value_bytes(turned)
    assert packed_types(view_of(a=ScalarMap)) == {"a": "opaque:SCALAR_MAP"}


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int64", Value(double_val=1.0)),
        ("string", Value(int64_val=1)),
        ("opaque:JSON", Value(string_val="1")),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(dtype: str, value: Value) -> None:
    with pytest.raises(SchemaMismatch, match="feature 'a' is declared"):
        values_column(RowField("a", dtype), [Value(), value])


def test_narrower_values_and_nulls_of_both_kinds_are_taken() -> None:
    values = [Value(int32_val=5), Value(int64_val=2**53 + 1), Value(), Value(null_val=NULL)]
    assert values_column(RowField("a", "int64"), values).to_pylist() == [5, 2**53 + 1, None, None]


def test_a_time_beyond_the_years_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="outside the years 1 to 9999"):
        values_column(RowField("a", "timestamp"), [Value(unix_timestamp_val=2**60)])
    null = Value(unix_timestamp_val=-(2**63))
    assert values_column(RowField("a", "timestamp"), [null]).to_pylist() == [None]


def entity(**keys: Value) -> EntityKey:
    return EntityKey(join_keys=list(keys), entity_values=list(keys.values()))


KEYS = (RowField("day", "string"), RowField("driver", "int64"))


def test_entities_become_columns_in_the_order_of_their_keys_names() -> None:
    entities = [
        entity(driver=Value(int64_val=1), day=Value(string_val="mon")),
        entity(driver=Value(int32_val=2), day=Value()),
    ]
    assert key_columns("v", KEYS, entities) == [["mon", None], [1, 2]]
    nobody = EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val="")])
    assert key_columns("v", (), [nobody, nobody]) == []
    assert key_columns("v", KEYS, []) == [[], []]


@pytest.mark.parametrize(
    "entities",
    [
        [entity(driver=Value(int64_val=1))],
        [entity(driver=Value(double_val=1.0), day=Value(string_val="mon"))],
        [
            entity(driver=Value(int64_val=1), day=Value(string_val="mon")),
            entity(day=Value(string_val="mon"), driver=Value(int64_val=1)),
        ],
    ],
    ids=["a key too few", "a double", "another order"],
)
def test_entities_with_other_keys_are_refused(entities: Sequence[EntityKey]) -> None:
    with pytest.raises(BadKey, match=r"^v: "):
        key_columns("v", KEYS, entities)


def test_a_row_that_lacks_a_feature_is_refused() -> None:
    rows: list[dict[str, Any]] = [{"a": Value(int64_val=1), "b": Value()}, {"a": Value()}]
    with pytest.raises(SchemaMismatch, match="v: a row lacks feature 'b'"):
        row_values("v", ["a", "b"], rows)
    assert row_values("v", ["a"], rows) == [[Value(int64_val=1), Value()]]
