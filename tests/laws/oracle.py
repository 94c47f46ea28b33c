"""The as-of join by brute force: plain loops over plain rows, sharing no code with the kernel."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A feature row: key, times in microseconds, and its values by name."""

    key: Any
    event: int
    created: int
    values: Mapping[str, Any]


def order_of(value: Any) -> tuple[Any, ...]:
    """Total order of values: null lowest, NaN greatest, otherwise as the values compare."""
    if value is None:
        return (0,)
    if isinstance(value, float) and math.isnan(value):
        return (2,)
    return (1, value.encode() if isinstance(value, str) else value)


def newest(rows: Sequence[Row]) -> Row | None:
    """Newest event, then created, then the greatest values in order of their names."""
    rank = [(r.event, r.created, [order_of(r.values[name]) for name in sorted(r.values)]) for r in rows]
    return rows[max(range(len(rows)), key=lambda i: rank[i])] if rows else None


def as_of(
    history: Sequence[Row], key: Any, *, asked: int, known: int, ttl: int, created_cutoff: bool = True
) -> tuple[Row | None, bool]:
    """Find the row a question must see, and whether it has outlived its ttl."""
    mine = [row for row in history if key is not None and row.key == key]
    visible = [r for r in mine if r.event <= known and (not created_cutoff or r.created <= known)]
    row = newest(visible)
    return row, bool(row is not None and ttl and row.event < asked - ttl)
