"""A view of a few gauges, rows of it in every order, and what its readers must see: the oracle.

The oracle knows rows as Python values and the byte table of docs/reference/packed-rows.md; it uses
nothing of the stores.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
from feast import Entity, FeatureView, Field, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import FeastType, Float64, Int64, String
from hypothesis import strategies as st

from knownat.clock import from_us

GAUGE = Entity(name="gauge", join_keys=["gauge_id"], value_type=ValueType.INT64)
TTL_US = 3_000_000
SKEW_US = 1_000_000
GAUGES = range(4)
TYPES: Mapping[str, FeastType] = {"level": Float64, "count": Int64, "note": String}


def gauge_view(*features: str, ttl_us: int = TTL_US) -> FeatureView:
    """The view with some of its features, as one release or another declares it."""
    named = {"gauge_id": Int64, **{name: TYPES[name] for name in features}}
    return FeatureView(
        name="gauges",
        entities=[GAUGE],
        ttl=timedelta(microseconds=ttl_us),
        schema=[Field(name=name, dtype=dtype) for name, dtype in named.items()],
    )


@dataclass(frozen=True)
class Reading:
    """One row: what a gauge showed, when, and since when that is known."""

    gauge: int
    event_us: int
    created_us: int
    values: tuple[float | None, int | None, str | None]

    @property
    def visible_us(self) -> int:
        return max(self.event_us, self.created_us)

    def rank(self, features: Sequence[str]) -> tuple[int, int, int, bytes]:
        """What decides between two rows of a gauge that have the same features."""
        return self.event_us, self.created_us, len(features), self.payload(features)

    def payload(self, features: Sequence[str]) -> bytes:
        """The row's canonical encoding by the byte table: numbers first, then text."""
        level, count, note = self.values
        # By type, doubles first, and by name within: level, count, note.
        stored = [(name, value) for name, value in zip(TYPES, self.values, strict=True) if name in features]
        bits = sum(0x80 >> place for place, (_, value) in enumerate(stored) if value is None)
        parts = [bytes([bits]) if stored else b""]
        if "level" in features:
            parts.append(struct.pack(">d", (level or 0.0) + 0.0))
        if "count" in features:
            parts.append(struct.pack(">q", count or 0))
        if "note" in features:
            text = (note or "").encode()
            parts += [struct.pack(">I", len(text)), text]
        return b"".join(parts)


def readings(times: st.SearchStrategy[int]) -> st.SearchStrategy[Reading]:
    values = st.tuples(
        st.none() | st.sampled_from([0.0, -0.0, 1.5, -1.5]),
        st.none() | st.sampled_from([0, -1, 2**53 + 1]),
        st.none() | st.sampled_from(["", "a", "é"]),
    )
    return st.builds(Reading, st.sampled_from(GAUGES), times, times, values)


def as_arrow(rows: Sequence[Reading], features: Sequence[str]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "gauge_id": pa.array([row.gauge for row in rows], pa.int64()),
        "level": pa.array([row.values[0] for row in rows], pa.float64()),
        "count": pa.array([row.values[1] for row in rows], pa.int64()),
        "note": pa.array([row.values[2] for row in rows], pa.string()),
    }
    moment = pa.timestamp("us", tz="UTC")
    return pa.table(
        {name: columns[name] for name in ("gauge_id", *features)}
        | {
            "event_timestamp": pa.array([row.event_us for row in rows], pa.int64()).cast(moment),
            "created_timestamp": pa.array([row.created_us for row in rows], pa.int64()).cast(moment),
        }
    )


def as_feast(rows: Sequence[Reading], features: Sequence[str]) -> list[Any]:
    places = {"level": "double_val", "count": "int64_val", "note": "string_val"}
    written = []
    for row in rows:
        named = dict(zip(TYPES, row.values, strict=True))
        values = {name: Value() for name in features}
        for name in features:
            if named[name] is not None:
                setattr(values[name], places[name], named[name])
        written.append((gauge_key(row.gauge), values, from_us(row.event_us), from_us(row.created_us)))
    return written


def gauge_key(gauge: int) -> EntityKey:
    return EntityKey(join_keys=["gauge_id"], entity_values=[Value(int64_val=gauge)])


Row = tuple[Reading, Sequence[str]]
"""A row and the features that its writer's release declares."""


def newest(rows: Iterable[Row]) -> dict[int, Row]:
    """The row of each gauge that a store must end with, whatever the order they came in."""
    best: dict[int, Row] = {}
    for row, features in rows:
        held = best.get(row.gauge)
        if held is None or row.rank(features) > held[0].rank(held[1]):
            best[row.gauge] = row, features
    return best


def leaders(rows: Sequence[Row]) -> dict[int, list[Row]]:
    """The rows that a gauge may end with: between schemas as wide, fingerprints decide."""
    by_schema = [newest(row for row in rows if row[1] == one) for one in {features for _, features in rows}]
    found: dict[int, list[Row]] = {}
    for gauge in {row.gauge for row, _ in rows}:
        held = [best[gauge] for best in by_schema if gauge in best]
        top = max(row.rank(features)[:3] for row, features in held)
        found[gauge] = [one for one in held if one[0].rank(one[1])[:3] == top]
    return found


def seen(held: Row | None, wanted: Sequence[str], now_us: int) -> Any:
    """What a reader of some features must get: (event time, values or None)."""
    if held is None:
        return None, None
    row, features = held
    if row.event_us < now_us - TTL_US or row.visible_us > now_us + SKEW_US:
        return row.event_us, None
    named = dict(zip(TYPES, row.values, strict=True))
    return row.event_us, {name: named[name] if name in features else None for name in wanted}
