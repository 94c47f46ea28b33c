"""Feast's declared types as packed types, and Arrow tables cast to them exactly.

A feature is packed natively where a row has its type. Every other Feast type (Map, Json, Struct,
Set, Uuid, Decimal, nested arrays ...) is ``opaque:<ValueType>``: Feast's own ``Value`` message,
serialised the same way every time.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_NAME
from feast.field import Field
from feast.protos.feast.types.Value_pb2 import ScalarMapEntry, Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from knownat.errors import SchemaMismatch
from knownat.stores.codec import RowField, RowSchema
from knownat.stores.codec_write import typed_column

OPAQUE = "opaque:"
TIMES = ("event_timestamp", "created_timestamp")

_SCALARS = {
    ValueType.BYTES: "bytes",
    ValueType.PDF_BYTES: "bytes",
    ValueType.IMAGE_BYTES: "bytes",
    ValueType.STRING: "string",
    ValueType.INT32: "int32",
    ValueType.INT64: "int64",
    ValueType.DOUBLE: "float64",
    ValueType.FLOAT: "float32",
    ValueType.BOOL: "bool",
    ValueType.UNIX_TIMESTAMP: "timestamp",
}
_NATIVE = _SCALARS | {
    ValueType[f"{kind.name}_LIST"]: f"list<{dtype}>"
    for kind, dtype in _SCALARS.items()
    if kind not in (ValueType.PDF_BYTES, ValueType.IMAGE_BYTES)
}
_KEYS = {
    ValueType.STRING: "string",
    ValueType.UUID: "string",
    ValueType.TIME_UUID: "string",
    ValueType.INT32: "int64",
    ValueType.INT64: "int64",
    ValueType.BYTES: "bytes",
    ValueType.BOOL: "bool",
}
_WHOLE_SECONDS = (ValueType.UNIX_TIMESTAMP_SET, ValueType.ZONED_TIMESTAMP)


class DeclaredView(Protocol):
    """What any of Feast's views declares: feature, on-demand and label views alike."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def features(self) -> Sequence[Field]:
        """What it says of an entity."""
        ...

    @property
    def entities(self) -> Sequence[str] | None:
        """The names of its entities."""
        ...

    @property
    def entity_columns(self) -> Sequence[Field]:
        """Their join keys, with types once it was applied."""
        ...


def value_type(field: Field) -> ValueType:
    """Return Feast's name of a declared type.

    Raises
    ------
    SchemaMismatch
        If Feast itself has no value of this type.
    """
    try:
        kind = field.dtype.to_value_type()
    except (KeyError, AssertionError) as error:
        raise SchemaMismatch(f"'{field.name}' is {field.dtype}, which Feast cannot store online.") from error
    if kind in (ValueType.UNKNOWN, ValueType.NULL):
        raise SchemaMismatch(f"'{field.name}' has no declared type. Declare one in its view's schema.")
    return kind


def packed_types(view: DeclaredView) -> dict[str, str]:
    """Return the packed type of each of a view's features, in the view's order.

    Raises
    ------
    SchemaMismatch
        If a feature's type cannot be stored.
    """
    return {field.name: _packed(value_type(field)) for field in view.features}


def key_types(view: DeclaredView) -> dict[str, str]:
    """Return the packed type of each of a view's join keys; a view without entities has none.

    Raises
    ------
    SchemaMismatch
        If a key is of a type that cannot name an entity exactly, or the view was never applied.
    """
    kinds = {
        column.name: value_type(column) for column in view.entity_columns if column.name != DUMMY_ENTITY_ID
    }
    named = [entity for entity in view.entities or () if entity != DUMMY_ENTITY_NAME]
    if len(named) != len(kinds):
        # Without the keys' types, every entity would have the same row.
        raise SchemaMismatch(f"{view.name}: the keys of {named} have no types yet. Apply the view first.")
    if wrong := {name: kind.name for name, kind in kinds.items() if kind not in _KEYS}:
        raise SchemaMismatch(
            f"{view.name}: keys {wrong} cannot name an entity exactly; use one of "
            f"{sorted(kind.name for kind in _KEYS)}."
        )
    return {name: _KEYS[kind] for name, kind in kinds.items()}


def row_schema(view: DeclaredView) -> RowSchema:
    """Return what lies in the online rows of a view.

    Raises
    ------
    SchemaMismatch
        If a key or a feature is of a type that cannot be stored.
    """
    return _schema(tuple(key_types(view).items()), tuple(packed_types(view).items()))


def packed_table(view: DeclaredView, table: pa.Table, *, carried: Sequence[str] = TIMES) -> pa.Table:
    """Return a table's keys and features as the view declares them, exactly or not at all.

    ``carried`` names the columns that come along as they are, where the table has them.

    Raises
    ------
    SchemaMismatch
        If a column is missing, unknown to the view, of another type, or holds a value that its
        declared type cannot: 3.7 in an integer, an integer that went through a double beyond 2^53.
    """
    schema = row_schema(view)
    wanted = [*(field.name for field in schema.keys), *(field.name for field in view.features)]
    have = table.column_names
    missing, unknown = set(wanted) - set(have), set(have) - set(wanted) - set(carried)
    if missing or unknown or len(set(have)) < len(have):
        raise SchemaMismatch(
            f"{view.name}: its rows lack {sorted(missing)}, and have {sorted(unknown)}, which it does not "
            f"declare; a row has just {wanted}, each once. Correct the rows, or the view's schema."
        )
    columns = {field.name: table[field.name] for field in schema.keys}
    columns |= packed_features(view, table)
    return pa.table(columns | {name: table[name] for name in carried if name in have})


def packed_features(view: DeclaredView, table: pa.Table) -> dict[str, pa.Array]:
    """Return a table's features alone as the view declares them, exactly or not at all.

    Raises
    ------
    SchemaMismatch
        If a feature is of another type, or holds a value that its declared type cannot.
    """
    columns = {}
    for field in view.features:
        kind = value_type(field)
        columns[field.name] = packed_column(
            view, RowField(field.name, _packed(kind)), kind, table[field.name]
        )
    return columns


def value_bytes(value: Value) -> bytes:
    """Serialise a value so that equal values have equal bytes: maps and sets in a fixed order."""
    kind = value.WhichOneof("val")
    if kind is not None and kind.endswith(("set_val", "scalar_map_val")):
        unordered = getattr(value, kind)
        value = Value(**{kind: type(unordered)(val=sorted(unordered.val, key=_order))})
    packed: bytes = value.SerializeToString(deterministic=True)
    return packed


def _order(item: Value | ScalarMapEntry | str | float | bytes) -> bytes:
    if isinstance(item, Value | ScalarMapEntry):
        packed: bytes = item.SerializeToString(deterministic=True)
        return packed
    return repr(item).encode()


def _packed(kind: ValueType) -> str:
    return _NATIVE.get(kind) or f"{OPAQUE}{kind.name}"


@lru_cache(maxsize=1_024)
def _schema(keys: tuple[tuple[str, str], ...], features: tuple[tuple[str, str], ...]) -> RowSchema:
    return RowSchema.of(keys=dict(keys), features=dict(features))


def packed_column(view: DeclaredView, field: RowField, kind: ValueType, column: pa.ChunkedArray) -> pa.Array:
    """Return one feature's column as its view declares it, exactly or not at all.

    Raises
    ------
    SchemaMismatch
        If a value does not fit.
    """
    if field.dtype.startswith(OPAQUE):
        return opaque_column(view, field, kind, column.to_pylist(maps_as_pydicts="strict"))
    try:
        return typed_column(field, column)
    except SchemaMismatch as error:
        raise SchemaMismatch(f"{view.name}: {error}") from error


def opaque_column(view: DeclaredView, field: RowField, kind: ValueType, values: Sequence[Any]) -> pa.Array:
    """Pack Python values of a type that a row does not have; None is a null.

    Raises
    ------
    SchemaMismatch
        If a value does not fit.
    """
    if kind in _WHOLE_SECONDS and any(_has_fraction(value) for value in values):
        raise SchemaMismatch(
            f"{view.name}: feature '{field.name}' has fractions of a second, which Feast does not keep in "
            f"{kind.name}. Use UnixTimestamp for finer times."
        )
    try:
        # Feast looks at one value to learn a column's type, so nulls must not be that one.
        present = python_values_to_proto_values([value for value in values if value is not None], kind)
    except (TypeError, ValueError, AssertionError, KeyError, AttributeError) as error:
        # Feast's own conversion says no in any of these ways.
        raise SchemaMismatch(
            f"{view.name}: feature '{field.name}' has values that do not fit its declared {kind.name}: "
            f"{error}. Correct the rows, or the view's schema."
        ) from error
    packed = map(value_bytes, present)
    return pa.array([None if value is None else next(packed) for value in values], pa.large_binary())


def _has_fraction(value: Any) -> bool:
    if isinstance(value, list | set | tuple):
        return any(map(_has_fraction, value))
    return bool(getattr(value, "microsecond", 0))
