"""Round trips, canonical bytes and refusals of the packed row, without any store."""

import math
import struct
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.errors import BadKey, SchemaMismatch, UnknownSchema
from knownat.stores.codec import RowField, RowSchema, are_intact, is_intact, outranks, row_dtype
from knownat.stores.codec_read import RowDecoder, record_times, row_times
from knownat.stores.codec_write import canonical_rows, encode_rows
from knownat.stores.row_keys import MOST_KEY_BYTES, Entities, ViewName, entity_bytes, row_key, table_keys
from tests.stores.packed.feature_rows import Row, rows_of, schemas, table_of

VIEW = ViewName("shop", "orders")
TIMES = st.integers(-(2**60), 2**60)


def pack(schema: RowSchema, rows: list[Row]) -> tuple[list[bytes], list[bytes]]:
    table = table_of(schema, rows)
    event = np.array([row.event_us for row in rows], dtype=np.int64)
    created = np.array([row.created_us for row in rows], dtype=np.int64)
    keys = table_keys(VIEW, schema.keys, table)
    return keys, encode_rows(schema, table, keys=keys, event_us=event, created_us=created)


def same(left: object, right: object) -> bool:
    """Equal value and sign of zero apart; NaN is NaN, and None is only None."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    return type(left) is type(right) and left == right


@st.composite
def packed_rows(draw: st.DrawFn) -> tuple[RowSchema, list[Row]]:
    schema = draw(schemas())
    row = rows_of(schema, entities=st.integers(-(2**63), 2**63 - 1), times=TIMES)
    return schema, draw(st.lists(row, min_size=1, max_size=5))


@given(packed_rows())
def test_a_row_comes_back_as_it_was_written(case: tuple[RowSchema, list[Row]]) -> None:
    schema, rows = case
    keys, packed = pack(schema, rows)
    decoder = RowDecoder(schema, schema.features)
    records = decoder.records(packed)
    by_column = decoder.columns(packed, records)

    assert are_intact(keys, packed)
    for i, (row, content) in enumerate(zip(rows, packed, strict=True)):
        assert row_times(content) == (row.event_us, row.created_us)
        assert same(decoder.values(content), list(row.values))
        assert same([column[i] for column in by_column], list(row.values))
    event, created = record_times(records)
    assert event.tolist() == [row.event_us for row in rows]
    assert created.tolist() == [row.created_us for row in rows]


@given(packed_rows())
def test_a_matrix_holds_the_numbers_and_nan_for_nulls(case: tuple[RowSchema, list[Row]]) -> None:
    schema, rows = case
    numbers = [f for f in schema.features if f.dtype in ("float64", "int64", "float32", "int32", "bool")]
    _, packed = pack(schema, rows)
    decoder = RowDecoder(schema, numbers)
    out = np.empty((len(rows), len(numbers)))

    decoder.fill_matrix(packed, decoder.records(packed), out, {})

    places = [schema.features.index(field) for field in numbers]
    wanted = [
        [np.nan if row.values[p] is None else float(number(row.values[p])) for p in places] for row in rows
    ]
    np.testing.assert_array_equal(out, np.array(wanted, dtype=np.float64).reshape(out.shape))


def number(value: object) -> float | int:
    assert isinstance(value, int | float)
    return value


@given(packed_rows(), st.data())
def test_bytes_compare_as_event_then_created_then_canonical_bytes(
    case: tuple[RowSchema, list[Row]], data: st.DataObject
) -> None:
    schema, rows = case
    times = st.sampled_from([-(10**15), -1, 0, 1, 10**15])
    rows = [Row(0, data.draw(times), data.draw(times), row.values) for row in rows]
    _, packed = pack(schema, rows)
    canonical = canonical_rows(schema, table_of(schema, rows))

    ranks = [(row.event_us, row.created_us, c) for row, c in zip(rows, canonical, strict=True)]
    for i, one in enumerate(packed):
        for j, other in enumerate(packed):
            assert outranks(one, other) == (ranks[i] > ranks[j])


def test_a_row_lies_as_the_byte_table_says() -> None:
    schema = RowSchema.of(
        keys={"customer": "int64"}, features={"b": "int32", "a": "double", "name": "string", "vip": "bool"}
    )
    keys, packed = pack(schema, [Row(7, -1, 2, (1.5, None, True, "né"))])
    (key,), (row,) = keys, packed

    assert [field.name for field in schema.features] == ["a", "b", "vip", "name"]
    assert key == b"\x04shop\x06orders\x01" + struct.pack(">Q", 7 + 2**63)
    assert row[:1] == b"\x01"
    assert row[1:17] == struct.pack(">QQ", 2**63 - 1, 2**63 + 2)
    assert row[17:27] == b"\x00\x04" + schema.fingerprint
    assert (
        row[27:-4]
        == b"\x40" + struct.pack(">d", 1.5) + bytes(4) + b"\x01" + struct.pack(">I", 3) + "né".encode()
    )
    assert canonical_rows(schema, table_of(schema, [Row(7, 0, 0, (1.5, None, True, "né"))])) == [row[27:-4]]


def test_every_nan_and_zero_and_null_has_one_encoding() -> None:
    schema = RowSchema.of(keys={}, features={"a": "float64", "b": "float32", "c": "list<float64>"})
    odd_nan = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]
    plain = pa.table(
        {"a": [math.nan, 0.0], "b": pa.array([math.nan, 0.0], pa.float32()), "c": [[math.nan], [0.0]]}
    )
    odd = pa.table(
        {"a": [odd_nan, -0.0], "b": pa.array([odd_nan, -0.0], pa.float32()), "c": [[odd_nan], [-0.0]]}
    )
    assert canonical_rows(schema, plain) == canonical_rows(schema, odd)

    # A null's slot may hold anything in Arrow; in a row it is zero.
    hidden = pa.Array.from_buffers(
        pa.float64(), 1, [pa.py_buffer(b"\0"), pa.py_buffer(struct.pack("<d", 9.5))]
    )
    one = RowSchema.of(keys={}, features={"a": "float64"})
    assert canonical_rows(one, pa.table({"a": hidden})) == canonical_rows(one, pa.table({"a": [None]}))


@given(packed_rows(), st.data())
def test_a_damaged_row_is_noticed(case: tuple[RowSchema, list[Row]], data: st.DataObject) -> None:
    schema, rows = case
    keys, packed = pack(schema, rows)
    at = data.draw(st.integers(0, len(packed[0]) - 1))
    flipped = bytearray(packed[0])
    flipped[at] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(flipped), packed[0][:at], packed[0] + b"\0", b""):
        assert not is_intact(keys[0], damaged)
        assert not are_intact(keys, [damaged, *packed[1:]])


def test_another_entitys_row_is_noticed() -> None:
    schema = RowSchema.of(keys={"customer": "int64"}, features={"a": "int64"})
    keys, packed = pack(schema, [Row(1, 0, 0, (5,)), Row(2, 0, 0, (5,))])
    assert not is_intact(keys[0], packed[1])
    assert not are_intact(keys, packed[::-1])


def test_a_missing_feature_is_null_and_is_named() -> None:
    old = RowSchema.of(keys={}, features={"a": "int64"})
    (row,) = canonical_and_header(old, pa.table({"a": [5]}))
    decoder = RowDecoder(old, [RowField("new", "float64"), RowField("a", "int64")])
    out = np.zeros((1, 2))
    decoder.fill_matrix([row], decoder.records([row]), out, {})

    assert decoder.values(row) == [None, 5]
    assert decoder.columns([row], decoder.records([row])) == [[None], [5]]
    assert np.isnan(out[0, 0])
    assert decoder.lacking == ("new",)


def canonical_and_header(schema: RowSchema, table: pa.Table) -> list[bytes]:
    zeros = np.zeros(table.num_rows, dtype=np.int64)
    return encode_rows(schema, table, keys=[b""] * table.num_rows, event_us=zeros, created_us=zeros)


@pytest.mark.parametrize(("stored", "read", "value"), [("int32", "int64", 7), ("float32", "float64", 0.5)])
def test_a_wider_type_reads_a_narrower_row(stored: str, read: str, value: object) -> None:
    schema = RowSchema.of(keys={}, features={"a": stored})
    (row,) = canonical_and_header(schema, pa.table({"a": [value]}))
    assert RowDecoder(schema, [RowField("a", read)]).values(row) == [value]


@pytest.mark.parametrize(
    ("stored", "read"), [("float64", "string"), ("int64", "int32"), ("int64", "float64")]
)
def test_a_changed_type_is_refused_by_name(stored: str, read: str) -> None:
    schema = RowSchema.of(keys={}, features={"amount": stored})
    with pytest.raises(SchemaMismatch, match="'amount' is stored as"):
        RowDecoder(schema, [RowField("amount", read)])


@pytest.mark.parametrize(
    ("dtype", "column"),
    [
        ("int64", [3.7]),
        ("int64", ["10"]),
        ("int64", [True]),
        ("int32", [2**31]),
        ("float64", [2**53 + 1]),
        ("string", [1]),
        ("timestamp", [1]),
        ("list<int64>", [[1, None]]),
    ],
)
def test_a_value_that_does_not_fit_is_refused(dtype: str, column: list[object]) -> None:
    with pytest.raises(SchemaMismatch, match="Feature 'a'"):
        canonical_rows(RowSchema.of(keys={}, features={"a": dtype}), pa.table({"a": column}))


def test_a_missing_column_is_refused() -> None:
    schema = RowSchema.of(keys={}, features={"a": "int64", "b": "int64"})
    with pytest.raises(SchemaMismatch, match=r"lack \['b'\]"):
        canonical_rows(schema, pa.table({"a": [1]}))


def test_sliced_chunked_and_dictionary_columns_are_read_where_they_begin() -> None:
    schema = RowSchema.of(keys={}, features={"a": "string", "b": "list<string>", "c": "list<int64>"})
    whole = pa.table(
        {
            "a": pa.chunked_array([["x", None], ["zz", "y"]]).dictionary_encode(),
            "b": [["q"], None, ["r", ""], ["s"]],
            "c": [[1], None, [2, 3], []],
        }
    )
    (row, last) = canonical_and_header(schema, whole.slice(2))
    decoder = RowDecoder(schema, schema.features)
    assert dict(zip([f.name for f in schema.features], decoder.values(row), strict=True)) == {
        "a": "zz", "b": ["r", ""], "c": [2, 3],
    }  # fmt: skip
    assert decoder.values(last) == ["y", ["s"], []]


def test_more_rows_than_one_block_keep_their_values() -> None:
    schema = RowSchema.of(keys={}, features={"a": "int64", "s": "string"})
    rows = canonical_and_header(schema, pa.table({"a": range(2_500), "s": [str(i) for i in range(2_500)]}))
    decoder = RowDecoder(schema, schema.features)
    assert [decoder.values(row) for row in rows] == [[i, str(i)] for i in range(2_500)]


@given(schemas())
def test_a_stored_schema_comes_back(schema: RowSchema) -> None:
    assert RowSchema.parse(schema.text) == schema


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format":2,"keys":[],"features":[]}'])
def test_a_schema_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(UnknownSchema):
        RowSchema.parse(text)


def test_a_type_that_cannot_be_packed_is_named() -> None:
    with pytest.raises(SchemaMismatch, match="no type 'decimal128"):
        row_dtype("decimal128(5, 2)")
    with pytest.raises(SchemaMismatch, match="cannot name an entity"):
        RowSchema.of(keys={"customer": "float64"}, features={})


ENTITIES = st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(max_size=4), st.booleans())


@given(st.lists(ENTITIES, min_size=2, max_size=2, unique=True))
def test_two_entities_never_share_a_key(entities: list[tuple[int, str, bool]]) -> None:
    dtypes = ["int64", "string", "bool"]
    one, other = (row_key(VIEW.prefix, entity_bytes(dtypes, list(entity))) for entity in entities)
    assert one != other
    assert Entities(dtypes, list(zip(*entities, strict=True)), 2).row_keys(VIEW.prefix) == [one, other]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3))
def test_many_integer_keys_are_those_of_each(values: list[int]) -> None:
    wanted = [VIEW.prefix + entity_bytes(["int64"], [value]) for value in values]
    assert Entities(["int64"], [values], len(values)).row_keys(VIEW.prefix) == wanted


@pytest.mark.parametrize("value", [1.5, True, "1", None, 2**63, b"1"])
def test_a_key_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(BadKey):
        entity_bytes(["int64"], [value])
    with pytest.raises(BadKey):
        Entities(["int64"], [[1, value]], 2)


@pytest.mark.parametrize("column", [[1.0], ["1"], [True], [None], pa.array([2**63], pa.uint64())])
def test_a_key_column_of_another_type_is_refused(column: object) -> None:
    with pytest.raises(BadKey, match="shop/orders: key 'customer'"):
        table_keys(VIEW, (RowField("customer", "int64"),), pa.table({"customer": column}))


def test_a_long_key_is_hashed_within_the_limit() -> None:
    keys = {row_key(VIEW.prefix, entity_bytes(["string"], ["x" * 600 + end])) for end in "ab"}
    assert len(keys) == 2
    assert all(len(key) <= MOST_KEY_BYTES and key.startswith(VIEW.prefix) for key in keys)


def test_names_cannot_run_into_each_other() -> None:
    assert ViewName("a", "bc").prefix != ViewName("ab", "c").prefix


def test_times_outside_the_calendar_are_refused() -> None:
    far = pa.array([2**62], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    with pytest.raises(SchemaMismatch, match="years 1 to 9999"):
        canonical_rows(RowSchema.of(keys={}, features={"t": "timestamp"}), pa.table({"t": far}))
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    schema = RowSchema.of(keys={}, features={"t": "timestamp"})
    (row,) = canonical_and_header(schema, pa.table({"t": pa.array([last], pa.timestamp("us", tz="UTC"))}))
    assert RowDecoder(schema, schema.features).values(row) == [last]
