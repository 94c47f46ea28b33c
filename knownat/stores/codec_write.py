"""Arrow columns to packed rows, without a Python object for each value."""

import operator
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.errors import SchemaMismatch
from knownat.stores.codec import (
    BIAS,
    CHECK_BYTES,
    FIXED,
    VERSION,
    RowField,
    RowSchema,
    arrow_type,
    check_sums,
)

# Rows this wide at once stay in the processor's cache while 250 columns are laid into them.
_BLOCK_ROWS = 1_024
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_MOST_TAIL_BYTES = 2**31
_FIRST_INEXACT = 2.0**53
_EMPTY = pa.scalar(b"", pa.large_binary())

Int64s = npt.NDArray[np.int64]
Columns = dict[str, pa.Array]


def encode_rows(
    schema: RowSchema, table: pa.Table, *, keys: Sequence[bytes], event_us: Int64s, created_us: Int64s
) -> list[bytes]:
    """Pack a table's rows, each under its key.

    Raises
    ------
    SchemaMismatch
        If a feature's column is missing or cannot become its declared type without loss.
    """
    columns = _typed_columns(schema, table)
    rows: list[bytes] = []
    for start in range(0, table.num_rows, _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, table.num_rows))
        record = np.zeros(block.stop - start, dtype=schema.layout.record)
        record["version"] = VERSION
        record["event"] = event_us[block].view(np.uint64) ^ np.uint64(BIAS)
        record["created"] = created_us[block].view(np.uint64) ^ np.uint64(BIAS)
        record["width"] = len(schema.features)
        record["schema"] = schema.number
        bodies = _fill(schema, record, columns, block)
        sums = np.fromiter(check_sums(keys[block], bodies), dtype="<u4", count=len(bodies))
        rows += map(operator.add, bodies, sums.view(f"V{CHECK_BYTES}").tolist())
    return rows


def canonical_rows(schema: RowSchema, table: pa.Table) -> list[bytes]:
    """Return the canonical encoding of a table's rows: the greatest of equal times wins.

    Only rows of one schema compare.

    Raises
    ------
    SchemaMismatch
        If a feature's column is missing or cannot become its declared type without loss.
    """
    columns = _typed_columns(schema, table)
    rows: list[bytes] = []
    for start in range(0, table.num_rows, _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, table.num_rows))
        payload = np.zeros(block.stop - start, dtype=schema.layout.payload)
        rows += _fill(schema, payload, columns, block)
    return rows


def _typed_columns(schema: RowSchema, table: pa.Table) -> Columns:
    if missing := [field.name for field in schema.features if field.name not in table.column_names]:
        raise SchemaMismatch(
            f"The rows lack {missing}; they have {table.column_names}. A row holds every feature of its view."
        )
    return {field.name: typed_column(field, table[field.name]) for field in schema.features}


def typed_column(field: RowField, column: pa.ChunkedArray) -> pa.Array:
    """Cast a column to its field's packed type, exactly; only a double may round to a float32.

    Raises
    ------
    SchemaMismatch
        If a value does not fit, or an integer came through a double that cannot tell it from the next.
    """
    wanted = arrow_type(field.dtype)
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_null(kind):
        return pa.nulls(len(column), wanted)
    if not _fits(kind, wanted):
        raise SchemaMismatch(f"Feature '{field.name}' holds {kind}; its view declares {field.dtype}.")
    try:
        # Doubles round to a declared float32, as they do in Feast; every other cast is exact.
        array = _in_one_piece(pc.cast(column, wanted), wanted)
    except pa.ArrowInvalid as error:
        raise SchemaMismatch(
            f"Feature '{field.name}' holds {kind} that {field.dtype} cannot hold exactly: {error}. "
            "Declare a wider type, or round where the table is written."
        ) from error
    _check_range(field, array)
    if pa.types.is_floating(_items(column).type):
        _check_doubles(field, column, array)
    return array


def _in_one_piece(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.Array:
    # One chunk is left as it is: Arrow refuses to copy lists that Polars exports with an empty child.
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], wanted)


def _fits(kind: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_large_list(wanted):
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        return listed and _fits(kind.value_type, wanted.value_type)
    if pa.types.is_integer(wanted) or pa.types.is_floating(wanted):
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))
    return any(
        same(kind) and any(same(wanted) for same in family) for family in _FAMILIES for same in family
    ) or bool(pa.types.is_null(kind))


_FAMILIES = (
    (pa.types.is_boolean,),
    (pa.types.is_timestamp,),
    (pa.types.is_string, pa.types.is_large_string),
    (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary),
)


def _check_doubles(field: RowField, column: pa.ChunkedArray, array: pa.Array) -> None:
    """Refuse what a cast from doubles lets pass: integers beyond 2^53, and infinity for 1e300."""
    before, after = _items(column), _items(array)
    if pa.types.is_integer(after.type):
        wrong = pc.greater_equal(pc.abs(before), _FIRST_INEXACT)
    elif pa.types.is_float32(after.type):
        wrong = pc.and_(pc.is_inf(after), pc.is_finite(before))
    else:
        return
    if pc.any(wrong).as_py():
        raise SchemaMismatch(
            f"Feature '{field.name}' holds {column.type} beyond what its declared {field.dtype} and a double "
            "both hold exactly. Keep its integers integers (in pandas: Int64, which has nulls), or declare "
            "a wider type."
        )


def _items(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    kind = values.type
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return pc.list_flatten(values) if listed else values


def _check_range(field: RowField, array: pa.Array) -> None:
    values = array
    if field.dtype.startswith("list<"):
        values = array.flatten()
        if values.null_count:
            raise SchemaMismatch(f"Feature '{field.name}' has null items; a list here holds values only.")
    if field.dtype in ("timestamp", "list<timestamp>") and len(values) > values.null_count:
        span = pc.min_max(values.cast(pa.int64())).as_py()
        if span["min"] < _FIRST_US or span["max"] > _LAST_US:
            raise SchemaMismatch(f"Feature '{field.name}' holds times outside the years 1 to 9999.")


def _fill(schema: RowSchema, record: np.ndarray, columns: Columns, block: slice) -> list[bytes]:
    """Lay one block of columns into a zeroed record array, and return its rows with their tails."""
    place = dict.fromkeys(FIXED, 0)
    tails: list[pa.Array] = []
    for position, field in enumerate(schema.features):
        column = columns[field.name][block]
        if column.null_count:
            absent = np.asarray(pc.is_null(column), dtype=np.uint8)
            record["nulls"][:, position // 8] |= absent << np.uint8(7 - position % 8)
        if field.dtype in FIXED:
            record[field.dtype][:, place[field.dtype]] = fixed_values(column, field.dtype)
            place[field.dtype] += 1
        else:
            tails.append(_as_bytes(column, field.dtype))
    if not tails:
        return _split(record)
    sizes = np.stack([np.asarray(pc.binary_length(tail), dtype=np.int64) for tail in tails], axis=1)
    ends = sizes.cumsum(axis=1)
    if len(ends) and ends.max() >= _MOST_TAIL_BYTES:
        raise SchemaMismatch("A row's text and lists take 2 GiB or more; that is no feature.")
    record["ends"] = ends
    joined = tails[0] if len(tails) == 1 else pc.binary_join_element_wise(*tails, _EMPTY)
    offsets, data = _binary_parts(joined)
    whole = data[offsets[0] : offsets[-1]].tobytes()
    cuts = (offsets - offsets[0]).tolist()
    heads = _split(record)
    return [head + whole[cuts[i] : cuts[i + 1]] for i, head in enumerate(heads)]


def _split(record: np.ndarray) -> list[bytes]:
    listed: list[bytes] = record.view(f"V{record.dtype.itemsize}").tolist()
    return listed


def fixed_values(column: pa.Array, dtype: str) -> np.ndarray:
    """Return a column's values in canonical form: null is zero, NaN one NaN, -0.0 is 0.0."""
    if dtype == "timestamp":
        column = column.cast(pa.int64())
    if column.null_count:
        column = column.fill_null(False if dtype == "bool" else 0)
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    if dtype in ("float64", "float32"):
        values = values + values.dtype.type(0)
        values[np.isnan(values)] = np.nan
    return values


def _as_bytes(column: pa.Array, dtype: str) -> pa.Array:
    """Turn text, bytes and lists into one byte string a row, a null into none."""
    if not dtype.startswith("list<"):
        return column.cast(pa.large_binary()).fill_null(b"")
    item = dtype[5:-1]
    counts = np.asarray(pc.fill_null(pc.list_value_length(column), 0), dtype=np.int64)
    edges = np.concatenate([np.zeros(1, dtype=np.int64), counts.cumsum()])
    items = column.flatten()
    if item in FIXED:
        data = fixed_values(items, item).astype(FIXED[item][1])
        return _binary_array(edges * data.dtype.itemsize, data.tobytes())
    raw = items.cast(pa.large_binary())
    sizes = np.asarray(pc.binary_length(raw), dtype=">u4")
    prefixes = _binary_array(np.arange(len(sizes) + 1) * 4, sizes.tobytes())
    framed = pc.binary_join_element_wise(prefixes, raw, _EMPTY)
    offsets, content = _binary_parts(framed)
    return _binary_array(offsets[edges], content.tobytes())


def _binary_array(offsets: npt.NDArray[np.int64], data: bytes) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int64).tobytes()), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _binary_parts(array: pa.Array) -> tuple[Int64s, np.ndarray]:
    _, offsets, data = array.buffers()
    cuts = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    content = np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)
    return cuts, content
