"""The packed online row: one value a key, whose bytes compare as newest wins.

docs/reference/packed-rows.md holds the byte table. Everything is big-endian, so comparing two rows
of a key as unsigned bytes after the version byte orders them by event time, created time, number
of features, schema and then payload. The payload is the row's canonical encoding: the last word
between rows of equal times, whichever engine compares them.
"""

import hashlib
import json
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from zlib import crc32

import numpy as np
import pyarrow as pa

from knownat.errors import SchemaMismatch, UnknownSchema

VERSION = 1
BIAS = 1 << 63
HEADER = struct.Struct(">BQQH8s")
_HEADER = [("version", "u1"), ("event", ">u8"), ("created", ">u8"), ("width", ">u2"), ("schema", "=u8")]
IDENTITY = slice(17, 27)
"""Where a row names its schema: the number of features, then the fingerprint."""
CHECK_BYTES = 4
INTACT = 0x2144DF1C
"""CRC-32 of anything followed by its own CRC-32, least significant byte first.

Every check starts from it, so one call over many rows, each behind its key, ends with it again.
"""

FIXED = {
    "float64": ("d", ">f8"),
    "int64": ("q", ">i8"),
    "timestamp": ("q", ">i8"),
    "float32": ("f", ">f4"),
    "int32": ("i", ">i4"),
    "bool": ("?", "?"),
}
"""Types of a fixed width in the order they lie in a row: their codes for struct and numpy."""

_ARROW = {
    "float64": pa.float64(),
    "int64": pa.int64(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "float32": pa.float32(),
    "int32": pa.int32(),
    "bool": pa.bool_(),
    "string": pa.large_string(),
    "bytes": pa.large_binary(),
}
_ALIASES = {
    "double": "float64",
    "float": "float32",
    "large_string": "string",
    "binary": "bytes",
    "large_binary": "bytes",
    "boolean": "bool",
}
_KEY_DTYPES = ("int64", "string", "bytes", "bool")
_MOST_FEATURES = 65_535
_MOST_BYTES = 2**62


def row_dtype(name: str) -> str:
    """Return the packed name of a type, given that name or Arrow's.

    >>> row_dtype("double"), row_dtype("timestamp[us, tz=UTC]"), row_dtype("list<item: string>")
    ('float64', 'timestamp', 'list<string>')

    Raises
    ------
    SchemaMismatch
        If a packed row has no such type.
    """
    if name.startswith("opaque:"):
        return name
    for opening in ("large_list<", "list<"):
        if name.startswith(opening) and name.endswith(">"):
            item = row_dtype(name[len(opening) : -1].rpartition(": ")[2].removesuffix(" not null"))
            if item in _ARROW:
                return f"list<{item}>"
    plain = "timestamp" if name.startswith("timestamp[") else _ALIASES.get(name, name)
    if plain not in _ARROW:
        raise SchemaMismatch(
            f"A packed row has no type '{name}'; it has {sorted(_ARROW)}, lists of these, and "
            "'opaque:<name>' for bytes that only their writer understands."
        )
    return plain


def arrow_type(dtype: str) -> pa.DataType:
    """Return the Arrow type whose values a packed type holds."""
    if dtype.startswith("list<"):
        return pa.large_list(_ARROW[dtype[5:-1]])
    return pa.large_binary() if dtype.startswith("opaque:") else _ARROW[dtype]


@dataclass(frozen=True)
class RowField:
    """A key or a feature of a view and its packed type."""

    name: str
    dtype: str


@dataclass(frozen=True)
class RowSchema:
    """What lies in the rows of one view: keys sorted by name, features in the order of the bytes."""

    keys: tuple[RowField, ...]
    features: tuple[RowField, ...]

    @classmethod
    def of(cls, *, keys: Mapping[str, str], features: Mapping[str, str]) -> "RowSchema":
        """Build a schema from names and type names, in any order.

        Raises
        ------
        SchemaMismatch
            If a type cannot be packed, a key's type cannot name an entity exactly, or there are
            more than 65 535 features.
        """
        typed = {name: row_dtype(dtype) for name, dtype in keys.items()}
        if wrong := {name: dtype for name, dtype in typed.items() if dtype not in _KEY_DTYPES}:
            raise SchemaMismatch(f"Keys {wrong} cannot name an entity; use {list(_KEY_DTYPES)}.")
        if len(features) > _MOST_FEATURES:
            raise SchemaMismatch(f"A view of {len(features)} features is too wide; {_MOST_FEATURES} fit.")
        fields = [RowField(name, row_dtype(dtype)) for name, dtype in features.items()]
        order = list(FIXED)
        place = {field: order.index(field.dtype) if field.dtype in FIXED else len(order) for field in fields}
        return cls(
            tuple(RowField(name, typed[name]) for name in sorted(typed)),
            tuple(sorted(fields, key=lambda field: (place[field], field.name))),
        )

    @cached_property
    def text(self) -> str:
        """The schema as the store keeps it."""
        named = {
            "keys": [[field.name, field.dtype] for field in self.keys],
            "features": [[field.name, field.dtype] for field in self.features],
        }
        return json.dumps({"format": VERSION, **named}, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def parse(cls, text: str | bytes) -> "RowSchema":
        """Read what :attr:`text` wrote.

        Raises
        ------
        UnknownSchema
            If it is no schema, or one of a later format.
        """
        try:
            document = json.loads(text)
            if document["format"] != VERSION:
                raise UnknownSchema(f"A stored schema has format {document['format']}; upgrade knownat.")
            keys, features = dict(document["keys"]), dict(document["features"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnknownSchema("A stored schema cannot be read. Materialize its view again.") from error
        return cls.of(keys=keys, features=features)

    @cached_property
    def fingerprint(self) -> bytes:
        """Eight bytes that name this schema."""
        return hashlib.blake2b(self.text.encode(), digest_size=8).digest()

    @cached_property
    def number(self) -> int:
        """The fingerprint as the ``schema`` field of a record reads on this machine."""
        return int.from_bytes(self.fingerprint, sys.byteorder)

    @cached_property
    def identity(self) -> bytes:
        """What a row of this schema carries: the number of features, then the fingerprint."""
        return len(self.features).to_bytes(2, "big") + self.fingerprint

    @cached_property
    def layout(self) -> "Layout":
        """Where each value lies."""
        return Layout(self)


class Layout:
    """Where the values of a schema lie: once for ``struct``, once for numpy."""

    def __init__(self, schema: RowSchema) -> None:
        counts = {dtype: sum(field.dtype == dtype for field in schema.features) for dtype in FIXED}
        self.groups = {dtype: count for dtype, count in counts.items() if count}
        order = [field.dtype for field in schema.features]
        self.first = {dtype: order.index(dtype) for dtype in self.groups}
        self.variable = len(schema.features) - sum(self.groups.values())
        self.null_bytes = (len(schema.features) + 7) // 8
        codes = "".join(f"{count}{FIXED[dtype][0]}" for dtype, count in self.groups.items())
        self.fixed = struct.Struct(f"{HEADER.format}{self.null_bytes}s{codes}{self.variable}I")
        payload: list[tuple[str, str, tuple[int, ...]]] = [("nulls", "u1", (self.null_bytes,))]
        payload += [(dtype, FIXED[dtype][1], (count,)) for dtype, count in self.groups.items()]
        payload += [("ends", ">u4", (self.variable,))] if self.variable else []
        self.payload = np.dtype(payload)
        self.record = np.dtype([*_HEADER, *payload])
        # Rows without text and lists all have one length: then the check lies in the record too.
        self.whole_record = np.dtype([*_HEADER, *payload, ("check", "V4")])
        self.least_bytes = self.fixed.size + CHECK_BYTES
        self.most_bytes = _MOST_BYTES if self.variable else self.least_bytes


def is_intact(key: bytes, row: bytes) -> bool:
    """Tell whether these bytes are a row that was written whole, under this very key."""
    return crc32(row, crc32(key, INTACT)) == INTACT


def are_intact(keys: Sequence[bytes], rows: Sequence[bytes]) -> bool:
    """Tell the same of many rows at once, at a fraction of the cost."""
    pieces = [b""] * (2 * len(rows))
    pieces[::2], pieces[1::2] = keys, rows
    return crc32(b"".join(pieces), INTACT) == INTACT


def check_sums(keys: Sequence[bytes], bodies: Sequence[bytes]) -> Iterator[int]:
    """Return what makes each row intact once it stands behind the row's body."""
    return map(crc32, bodies, map(crc32, keys, repeat(INTACT)))


def outranks(row: bytes, other: bytes) -> bool:
    """Tell whether a row is the newer of two rows of one key."""
    return row > other if row[0] == other[0] else row[1:] > other[1:]
