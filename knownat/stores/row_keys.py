"""Entity keys as bytes: ``len project, project, len view, view`` and each join key in order of name.

A value is ``01`` and int64 + 2^63 in eight bytes, ``02`` and text, ``03`` and bytes (each behind
its length in four bytes), or ``04`` and a boolean. A key over 511 bytes, LMDB's limit, ends in
``FF`` and the 32-byte BLAKE2b of its entity part, in every store alike.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knownat.errors import BadKey, ConfigError
from knownat.stores.codec import BIAS, RowField

MOST_KEY_BYTES = 511
_MOST_NAME_BYTES = 200
_INT = struct.Struct(">BQ")
_SIZED = struct.Struct(">BI")
_TYPES: dict[str, type] = {"int64": int, "string": str, "bytes": bytes, "bool": bool}
_ARROW_CHECKS: dict[str, Callable[[pa.DataType], bool]] = {
    "int64": pa.types.is_integer,
    "string": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "bytes": lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind),
    "bool": pa.types.is_boolean,
}


@dataclass(frozen=True)
class ViewName:
    """One feature view of one project."""

    project: str
    view: str

    def __str__(self) -> str:
        return f"{self.project}/{self.view}"

    @cached_property
    def prefix(self) -> bytes:
        """The bytes that every key of this view begins with, and no other view's.

        Raises
        ------
        ConfigError
            If a name is over 200 bytes.
        """
        return project_prefix(self.project) + _sized_name(self.view)


def project_prefix(project: str) -> bytes:
    """Return the bytes that every key of a project begins with, and no other project's."""
    return _sized_name(project)


def _sized_name(name: str) -> bytes:
    encoded = name.encode("utf-8")
    if not 0 < len(encoded) <= _MOST_NAME_BYTES:
        raise ConfigError("online store", [f"a name of {len(encoded)} bytes; 1 to {_MOST_NAME_BYTES} fit"])
    return bytes([len(encoded)]) + encoded


def entity_bytes(dtypes: Sequence[str], values: Sequence[object]) -> bytes:
    """Encode the join keys of one entity, given in order of their names.

    Raises
    ------
    BadKey
        If a value is of another type than its key: a key is never converted.
    """
    if len(dtypes) == 1:
        return _value_bytes(dtypes[0], values[0])
    return b"".join(map(_value_bytes, dtypes, values))


def _value_bytes(dtype: str, value: object) -> bytes:
    if type(value) is int and dtype == "int64":
        try:
            return _INT.pack(1, value + BIAS)
        except struct.error as error:
            raise BadKey("A key must be a 64-bit integer.") from error
    if type(value) is not _TYPES[dtype]:
        raise BadKey(f"A key must be {dtype}, not {type(value).__name__}.")
    if isinstance(value, str):
        try:
            encoded = value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadKey("A key is not valid Unicode text.") from error
        return _SIZED.pack(2, len(encoded)) + encoded
    if isinstance(value, bytes):
        return _SIZED.pack(3, len(value)) + value
    return b"\4\1" if value else b"\4\0"


def row_key(prefix: bytes, entity: bytes) -> bytes:
    """Return the key of an entity's row in a view."""
    key = prefix + entity
    return (
        key
        if len(key) <= MOST_KEY_BYTES
        else prefix + b"\xff" + hashlib.blake2b(entity, digest_size=32).digest()
    )


class Entities:
    """Many entities, encoded once for all the views that they name rows of."""

    def __init__(self, dtypes: Sequence[str], columns: Sequence[Any], count: int) -> None:
        self._ints: npt.NDArray[np.uint8] | None = None
        self._encoded: Sequence[bytes] = ()
        if not dtypes:
            self._encoded = [b""] * count
        elif list(dtypes) == ["int64"]:
            self._ints = _int_bytes(columns[0])
        else:
            self._encoded = [entity_bytes(dtypes, values) for values in zip(*columns, strict=True)]

    def row_keys(self, prefix: bytes) -> list[bytes]:
        """Return the keys of the entities' rows in a view."""
        if self._ints is None:
            return [row_key(prefix, entity) for entity in self._encoded]
        count, width = self._ints.shape
        keys = np.empty((count, len(prefix) + width), dtype=np.uint8)
        keys[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
        keys[:, len(prefix) :] = self._ints
        listed: list[bytes] = keys.view(f"V{keys.shape[1]}").ravel().tolist()
        return listed


def _int_bytes(values: Any) -> npt.NDArray[np.uint8]:
    if not isinstance(values, np.ndarray) and set(map(type, values)) - {int}:
        raise BadKey("A key must be a 64-bit integer.")
    try:
        integers = np.array(values, dtype=np.int64)
    except OverflowError as error:
        raise BadKey("A key must be a 64-bit integer.") from error
    encoded = np.empty((len(integers), _INT.size), dtype=np.uint8)
    encoded[:, 0] = 1
    biased = integers.view(np.uint64) ^ np.uint64(BIAS)
    encoded[:, 1:] = biased.astype(">u8").view(np.uint8).reshape(-1, 8)
    return encoded


def table_keys(view: ViewName, keys: Sequence[RowField], table: pa.Table) -> list[bytes]:
    """Return the keys of a table's rows; its key columns hold no null.

    Raises
    ------
    BadKey
        If a key column is of another type than declared.
    """
    columns = [_key_column(view, field, table[field.name]) for field in keys]
    dtypes = [field.dtype for field in keys]
    whole_numbers = dtypes == ["int64"]
    values = [column.to_numpy() if whole_numbers else column.to_pylist() for column in columns]
    return Entities(dtypes, values, table.num_rows).row_keys(view.prefix)


def _key_column(view: ViewName, field: RowField, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if _ARROW_CHECKS[field.dtype](kind) and not column.null_count:
        try:
            return column.cast(pa.int64() if field.dtype == "int64" else kind)
        except pa.ArrowInvalid as error:
            raise BadKey(f"{view}: key '{field.name}' has values beyond 64 bits.") from error
    raise BadKey(
        f"{view}: key '{field.name}' is {column.type} with {column.null_count} nulls; it must be "
        f"{field.dtype} without. Cast it where the table is written."
    )
