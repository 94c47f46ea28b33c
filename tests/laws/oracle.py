"""The as-of join by brute force: plain loops over plain rows, sharing no code with the kernel.

Full ties go to the greatest payload, built here from the byte table of docs/reference/packed-rows.md.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Fixed widths in the order they lie in a payload, with the codes of ``struct``.
FIXED = {"float64": "d", "int64": "q", "timestamp": "q", "float32": "f", "int32": "i", "bool": "?"}
NAN = {"float64": bytes.fromhex("7ff8000000000000"), "float32": bytes.fromhex("7fc00000")}

Types = Mapping[str, str]


class Row(NamedTuple):
    """A feature row: key, times in microseconds, and its values by name."""

    key: Any
    event: int
    created: int
    values: Mapping[str, Any]


def payload(values: Mapping[str, Any], types: Types) -> bytes:
    """Lay a row out as the byte table says: null bits, fixed widths by type and name, ends, tails."""
    fixed = [name for kind in FIXED for name in sorted(types) if types[name] == kind]
    loose = sorted(name for name in types if types[name] not in FIXED)
    bits = "".join("1" if values[name] is None else "0" for name in [*fixed, *loose])
    nulls = bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))
    tails = [tail(values[name], types[name]) for name in loose]
    ends = b"".join(struct.pack(">I", len(b"".join(tails[: i + 1]))) for i in range(len(tails)))
    return nulls + b"".join(number(values[name], types[name]) for name in fixed) + ends + b"".join(tails)


def number(value: Any, kind: str) -> bytes:
    """Big-endian; a null is zero, every NaN one NaN, -0.0 is 0.0."""
    if value is None:
        return bytes(struct.calcsize(">" + FIXED[kind]))
    if isinstance(value, float) and math.isnan(value):
        return NAN[kind]
    return struct.pack(">" + FIXED[kind], 0.0 if value == 0 and isinstance(value, float) else value)


def tail(value: Any, kind: str) -> bytes:
    """Text and bytes as they are, a list as its items: numbers as above, others behind their length."""
    if value is None:
        return b""
    if not kind.startswith("list<"):
        return value.encode() if isinstance(value, str) else bytes(value)
    item = kind[5:-1]
    if item in FIXED:
        return b"".join(number(v, item) for v in value)
    return b"".join(struct.pack(">I", len(tail(v, item))) + tail(v, item) for v in value)


def newest(rows: Sequence[Row], types: Types) -> Row | None:
    """Newest event, then created, then the greatest payload."""
    best: tuple[tuple[int, int, bytes], Row] | None = None
    for row in rows:
        rank = (row.event, row.created, payload(row.values, types))
        if best is None or rank > best[0]:
            best = (rank, row)
    return best[1] if best else None


def as_of(
    history: Sequence[Row],
    key: Any,
    *,
    types: Types,
    asked: int,
    known: int,
    ttl: int,
    created_cutoff: bool = True,
) -> tuple[Row | None, bool]:
    """Find the row a question must see, and whether it has outlived its ttl."""
    mine = [row for row in history if key is not None and row.key == key]
    visible = [r for r in mine if r.event <= known and (not created_cutoff or r.created <= known)]
    row = newest(visible, types)
    return row, bool(row is not None and ttl and row.event < asked - ttl)
