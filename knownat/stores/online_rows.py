"""Rows as Feast's online stores take them, exact in both directions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType

from knownat.clock import from_us
from knownat.errors import RepoError
from knownat.stores.services import arrow_type, as_declared
from knownat.stores.sources import view_keys
from knownat.stores.tables import CREATED_US, EVENT_US

OnlineRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
_MAKE: Mapping[ValueType, Callable[[Any], Value]] = {
    ValueType.STRING: lambda value: Value(string_val=value),
    ValueType.BYTES: lambda value: Value(bytes_val=value),
    ValueType.INT32: lambda value: Value(int32_val=value),
    ValueType.INT64: lambda value: Value(int64_val=value),
    ValueType.FLOAT: lambda value: Value(float_val=value),
    ValueType.DOUBLE: lambda value: Value(double_val=value),
    ValueType.BOOL: lambda value: Value(bool_val=value),
}
_LOSSY = (ValueType.UNIX_TIMESTAMP, ValueType.UNIX_TIMESTAMP_LIST)


def key_types(view: FeatureView) -> dict[str, ValueType]:
    """Return the declared type of each of a view's join keys."""
    declared = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
    return {key: declared[key] for key in view_keys(view)}


def entity_key(keys: Sequence[object], types: Mapping[str, ValueType]) -> EntityKey:
    """Make the key of one entity, its values in the order of the types."""
    if not types:
        return EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val="")])
    values = [_MAKE[kind](key) for key, kind in zip(keys, types.values(), strict=True)]
    return EntityKey(join_keys=list(types), entity_values=values)


def to_online_rows(view: FeatureView, found: pl.DataFrame) -> list[OnlineRow]:
    """Turn the newest visible rows of a view's keys into rows of an online store.

    Both times of a row are among its values too: stores of Feast's lose fractions of a second, or
    shift times by the process's time zone.

    Raises
    ------
    RepoError
        If a feature's values do not fit its declared type, or its type loses fractions online.
    """
    types = key_types(view)
    table = found.to_arrow(compat_level=pl.CompatLevel.oldest())
    keys = list(zip(*(table[name].to_pylist() for name in types), strict=True)) or [()] * found.height
    columns = {
        feature.name: _values(
            as_declared(table[feature.name], arrow_type(feature.dtype), f"{view.name}__{feature.name}"),
            feature.dtype.to_value_type(),
            f"{view.name}__{feature.name}",
        )
        for feature in view.features
    }
    for time in (EVENT_US, CREATED_US):
        columns[time] = [Value(int64_val=us) for us in found[time].to_list()]
    rows = zip(*columns.values(), strict=True)
    return [
        (entity_key(key, types), dict(zip(columns, values, strict=True)), from_us(event), from_us(created))
        for key, values, event, created in zip(
            keys, rows, found[EVENT_US].to_list(), found[CREATED_US].to_list(), strict=True
        )
    ]


def from_value(value: Value | None) -> object:
    """Read one stored value; one that was not set is None."""
    return None if value is None else feast_value_type_to_python_type(value)


def _values(column: pa.ChunkedArray, kind: ValueType, name: str) -> list[Value]:
    if kind in _LOSSY:
        raise RepoError(
            f"Feature '{name}' is a UnixTimestamp, which loses fractions of a second online. "
            "Store microseconds as Int64."
        )
    if (make := _MAKE.get(kind)) is None:
        return list(python_values_to_proto_values(column.to_pylist(), kind))
    # An unset value is Feast's null.
    return [Value() if value is None else make(value) for value in column.to_pylist()]
