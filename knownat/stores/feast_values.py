"""Feast's ``Value`` messages to Arrow columns and back: what its own API writes and reads.

Feast's times are whole seconds, so a UnixTimestamp that came in as a ``Value`` has no fraction;
one that came as Arrow is exact in its row, and is given to Feast as the second it lies in.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import NULL_TIMESTAMP_INT_VALUE, VALUE_TYPE_TO_PROTO_VALUE_MAP
from feast.value_type import ValueType

from knownat.errors import BadKey, SchemaMismatch
from knownat.stores.codec import RowField, arrow_type
from knownat.stores.codec_write import typed_column
from knownat.stores.feast_types import OPAQUE, value_bytes

Values = Sequence[Value]
Make = Callable[[Any], Value]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NULLS = (None, "null_val")

# Where a message of each kind holds its value. Integers and doubles may come narrower than declared.
_PLACES: dict[str, tuple[str, ...]] = {
    "bytes": ("bytes_val",),
    "string": ("string_val",),
    "int32": ("int32_val",),
    "int64": ("int64_val", "int32_val"),
    "float64": ("double_val", "float_val"),
    "float32": ("float_val",),
    "bool": ("bool_val",),
    "timestamp": ("unix_timestamp_val",),
    "list<bytes>": ("bytes_list_val",),
    "list<string>": ("string_list_val",),
    "list<int32>": ("int32_list_val",),
    "list<int64>": ("int64_list_val", "int32_list_val"),
    "list<float64>": ("double_list_val", "float_list_val"),
    "list<float32>": ("float_list_val",),
    "list<bool>": ("bool_list_val",),
    "list<timestamp>": ("unix_timestamp_list_val",),
}
_KEY_PLACES: dict[str, tuple[str, ...]] = {
    "string": ("string_val", "uuid_val", "time_uuid_val"),
    "int64": ("int64_val", "int32_val"),
    "bytes": ("bytes_val",),
    "bool": ("bool_val",),
}


def value_maker(dtype: str) -> Make:
    """Return what turns a decoded value of a packed type into Feast's; a null is an unset one."""
    if dtype.startswith(OPAQUE):
        return lambda raw: Value() if raw is None else Value.FromString(raw)
    place = _PLACES[dtype][0]
    seconds = dtype.removeprefix("list<").removesuffix(">") == "timestamp"

    # Setting a field costs a tenth of naming it to the constructor.
    def scalar(given: Any) -> Value:
        value = Value()
        if given is not None:
            setattr(value, place, _seconds(given) if seconds else given)
        return value

    def listed(given: Any) -> Value:
        value = Value()
        if given is not None:
            # This sets the list also where it is empty: that is a list, not a null.
            getattr(value, place).val.extend(map(_seconds, given) if seconds else given)
        return value

    return listed if dtype.startswith("list<") else scalar


def values_column(field: RowField, values: Values) -> pa.Array:
    """Put one feature's values into an Arrow column of its packed type.

    Raises
    ------
    SchemaMismatch
        If a value is of another kind than the declared one.
    """
    kinds: set[str | None] = {value.WhichOneof("val") for value in values}
    if field.dtype.startswith(OPAQUE):
        places = _opaque_places(ValueType[field.dtype.removeprefix(OPAQUE)])
    else:
        places = _PLACES[field.dtype]
    if wrong := kinds.difference(places, _NULLS):
        raise SchemaMismatch(
            f"feature '{field.name}' is declared {field.dtype}, but has values of {sorted(map(str, wrong))}. "
            "Correct the rows, or the view's schema"
        )
    if field.dtype.startswith(OPAQUE):
        packed = [None if v.WhichOneof("val") in _NULLS else value_bytes(v) for v in values]
        return pa.array(packed, pa.large_binary())
    found = _picked(values, kinds)
    if field.dtype.startswith("list<"):
        found = [None if item is None else list(item.val) for item in found]
    if field.dtype in ("timestamp", "list<timestamp>"):
        return _moments(field, [_microseconds(value) for value in found])
    return pa.array(found, arrow_type(field.dtype))


def key_columns(view: str, keys: Sequence[RowField], entities: Sequence[EntityKey]) -> list[list[Any]]:
    """Return the values of each join key, in order of their names; a null key is None.

    Raises
    ------
    BadKey
        If an entity has other join keys than the view, or one of another type.
    """
    if not entities:
        return [[] for _ in keys]
    names = list(entities[0].join_keys)
    asked = sorted(name for name in names if name != DUMMY_ENTITY_ID)
    if asked != [field.name for field in keys]:
        raise BadKey(f"{view}: it is keyed by {[field.name for field in keys]}, but asked for by {asked}.")
    first = entities[0].join_keys
    if any(entity.join_keys != first or len(entity.entity_values) != len(names) for entity in entities):
        raise BadKey(f"{view}: every entity of a batch must have the keys {names}, in this order.")
    places = [names.index(field.name) for field in keys]
    return [
        key_values(view, field, [entity.entity_values[at] for entity in entities])
        for field, at in zip(keys, places, strict=True)
    ]


def key_values(view: str, field: RowField, values: Values) -> list[Any]:
    """Return the values of one join key; a null key is None.

    Raises
    ------
    BadKey
        If a value is of another type than the key.
    """
    kinds: set[str | None] = {value.WhichOneof("val") for value in values}
    if wrong := kinds.difference(_KEY_PLACES[field.dtype], _NULLS):
        raise BadKey(f"{view}: key '{field.name}' must be {field.dtype}, not {sorted(map(str, wrong))}.")
    return _picked(values, kinds)


def _picked(values: Values, kinds: set[str | None]) -> list[Any]:
    """Return the values themselves; one kind without nulls, as almost always, is the quick way."""
    (kind, *others) = kinds or {None}
    if not others and kind not in _NULLS:
        return [getattr(value, str(kind)) for value in values]
    found = []
    for value in values:
        kind = value.WhichOneof("val")
        found.append(None if kind is None or kind == "null_val" else getattr(value, kind))
    return found


def _opaque_places(kind: ValueType) -> tuple[str, ...]:
    # Feast's own table lacks the newest type.
    return (VALUE_TYPE_TO_PROTO_VALUE_MAP.get(kind) or f"{kind.name.lower()}_val",)


def _moments(field: RowField, found: list[Any]) -> pa.Array:
    integers = pa.int64() if field.dtype == "timestamp" else pa.large_list(pa.int64())
    try:
        times = pa.array(found, integers).cast(arrow_type(field.dtype))
    except (pa.ArrowInvalid, OverflowError) as error:
        raise SchemaMismatch(f"feature '{field.name}' holds times outside the years 1 to 9999") from error
    return typed_column(field, pa.chunked_array([times]))


def _microseconds(seconds: Any) -> Any:
    if isinstance(seconds, list):
        return [_microseconds(item) for item in seconds]
    return None if seconds is None or seconds == NULL_TIMESTAMP_INT_VALUE else seconds * 1_000_000


def _seconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _SECOND


def row_values(view: str, names: Sequence[str], rows: Sequence[Mapping[str, Value]]) -> list[list[Value]]:
    """Turn rows of values into one list a feature.

    Raises
    ------
    SchemaMismatch
        If a row lacks a feature.
    """
    try:
        return [[row[name] for row in rows] for name in names]
    except KeyError as error:
        raise SchemaMismatch(
            f"{view}: a row lacks feature {error}; a row holds every feature of its view."
        ) from error
