"""Generated schemas and rows, and the tables that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import strategies as st

from knownat.stores.codec import RowSchema, arrow_type

NOW_US = 1_380_000_000_000_000

_INT64 = st.integers(-(2**63), 2**63 - 1)
_TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda t: t.replace(fold=0))
_VALUES: dict[str, st.SearchStrategy[object]] = {
    "float64": st.floats(),
    "int64": _INT64 | st.sampled_from([-(2**63), 2**63 - 1, 2**53 + 1, 0]),
    "timestamp": _TIMES
    | st.sampled_from([datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC)]),
    "float32": st.floats(width=32),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "bool": st.booleans(),
    "string": st.text(max_size=6),
    "bytes": st.binary(max_size=6),
    "opaque:map": st.binary(max_size=6),
}
_LISTS: dict[str, st.SearchStrategy[object]] = {
    f"list<{dtype}>": st.lists(values, max_size=3)
    for dtype, values in _VALUES.items()
    if not dtype.startswith("opaque")
}
VALUES = _VALUES | _LISTS


@dataclass(frozen=True)
class Row:
    entity: int
    event_us: int
    created_us: int
    values: tuple[object, ...]


@st.composite
def schemas(draw: st.DrawFn) -> RowSchema:
    dtypes = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=9))
    names = [f"{chr(97 + draw(st.integers(0, 25)))}{i}" for i in range(len(dtypes))]
    return RowSchema.of(keys={"customer": "int64"}, features=dict(zip(names, dtypes, strict=True)))


def rows_of(
    schema: RowSchema,
    *,
    entities: st.SearchStrategy[int],
    times: st.SearchStrategy[int],
) -> st.SearchStrategy[Row]:
    values = st.tuples(*(st.none() | VALUES[field.dtype] for field in schema.features))
    return st.builds(Row, entities, times, times, values)


def table_of(schema: RowSchema, rows: Sequence[Row]) -> pa.Table:
    columns = {
        field.name: pa.array([row.values[i] for row in rows], arrow_type(field.dtype))
        for i, field in enumerate(schema.features)
    }
    micros = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "customer": pa.array([row.entity for row in rows], pa.int64()),
            **columns,
            "event_timestamp": pa.array([row.event_us for row in rows], pa.int64()).cast(micros),
            "created_timestamp": pa.array([row.created_us for row in rows], pa.int64()).cast(micros),
        }
    )
