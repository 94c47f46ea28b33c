"""Entity keys as bytes: ``len project, project, len view, view`` and each join key in order of name.

A value is ``01`` and int64 + 2^63 in eight bytes, ``02`` and text, ``03`` and bytes (each behind
its length in four bytes), or ``04`` and a boolean. A key over 511 bytes, LMDB's limit, ends in
``FF`` and the 32-byte BLAKE2b of its entity part, in every store alike.
"""

import hashlib
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

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


def encode_values(dtype: str, values: Sequence[object]) -> list[bytes]:
    """Encode many values of one join key.

    Raises
    ------
    BadKey
        If a value is of another type than its key.
    """
    if dtype != "string" or set(map(type, values)) - {str}:
        return [_value_bytes(dtype, value) for value in values]
    try:
        encoded = list(map(str.encode, cast("Sequence[str]", values)))
    except UnicodeEncodeError as error:
        raise BadKey("A key is not valid Unicode text.") from error
    heads = {size: _SIZED.pack(2, size) for size in set(map(len, encoded))}
    return [heads[len(text)] + text for text in encoded]


class Entities:
    """Many entities, encoded once for all the views that they name rows of."""

    def __init__(self, dtypes: Sequence[str], columns: Sequence[Any], count: int) -> None:
        self._matrix: npt.NDArray[np.uint8] | None = None
        self._encoded: Sequence[bytes] = ()
        if not dtypes:
            self._encoded = [b""] * count
        elif list(dtypes) == ["int64"]:
            values = columns[0]
            self._matrix = int_bytes(values if isinstance(values, np.ndarray) else _only_integers(values))
        elif len(dtypes) == 1:
            self._encoded = encode_values(dtypes[0], columns[0])
        else:
            self._encoded = [entity_bytes(dtypes, values) for values in zip(*columns, strict=True)]

    @classmethod
    def of(cls, encoded: Sequence[bytes]) -> "Entities":
        """Hold entities whose values were encoded and joined."""
        made = cls.__new__(cls)
        made._matrix = None
        made._encoded = encoded
        return made

    @classmethod
    def laid_out(cls, matrix: npt.NDArray[np.uint8]) -> "Entities":
        """Hold integers as :func:`int_bytes` encodes them."""
        made = cls.of(())
        made._matrix = matrix
        return made

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._encoded), default=0)

    def row_keys(self, prefix: bytes) -> list[bytes]:
        """Return the keys of the entities' rows in a view."""
        if self._matrix is None:
            if len(prefix) + self._longest > MOST_KEY_BYTES:
                return [row_key(prefix, entity) for entity in self._encoded]
            return [prefix + entity for entity in self._encoded]
        count, width = self._matrix.shape
        keys = np.empty((count, len(prefix) + width), dtype=np.uint8)
        keys[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
        keys[:, len(prefix) :] = self._matrix
        return listed(keys)


def listed(matrix: npt.NDArray[np.uint8]) -> list[bytes]:
    """Return the rows of an array of bytes."""
    rows: list[bytes] = matrix.view(f"V{matrix.shape[1]}").ravel().tolist()
    return rows


def has_null(dtype: str, values: Collection[object]) -> bool:
    """Tell whether a column of keys holds a null.

    Raises
    ------
    BadKey
        If it holds a value of another type than the key: 1 and True are equal and yet not one key.
    """
    if dtype == "string" and _all_text(values):
        return False
    kinds = set(map(type, values))
    if odd := kinds - {_TYPES[dtype], type(None)}:
        raise BadKey(f"A key must be {dtype}, not {sorted(kind.__name__ for kind in odd)}.")
    return type(None) in kinds


def _all_text(values: Collection[object]) -> bool:
    """Tell, in a quarter of the time that a look at each type takes, that all values are text."""
    try:
        "".join(cast("Collection[str]", values))
    except TypeError:
        return False
    return True


def _only_integers(values: Sequence[object]) -> npt.NDArray[np.int64]:
    if has_null("int64", values):
        raise BadKey("A key must be a 64-bit integer.")
    return integers(values)


def integers(values: Sequence[object]) -> npt.NDArray[np.int64]:
    """Lay Python integers out as an array.

    Raises
    ------
    BadKey
        If one is beyond 64 bits.
    """
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError as error:
        raise BadKey("A key must be a 64-bit integer.") from error


def int_bytes(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Encode integers as :func:`entity_bytes` does, one a row of the answer."""
    encoded = np.empty((len(values), _INT.size), dtype=np.uint8)
    encoded[:, 0] = 1
    biased = values.astype(np.int64, copy=False).view(np.uint64) ^ np.uint64(BIAS)
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
