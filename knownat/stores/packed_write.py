"""A table of feature rows into an online store: checked at the door, packed, newest wins."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import CLOCK_SKEW_US
from knownat.errors import SchemaMismatch
from knownat.stores.codec import RowSchema
from knownat.stores.codec_write import Int64s, encode_rows
from knownat.stores.row_keys import ViewName, table_keys
from knownat.stores.rows import RowStore

_log = logging.getLogger(__name__)

BATCH_ROWS = 10_000
_TICKS_A_MICROSECOND = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass(frozen=True)
class Written:
    """What became of a table's rows; the four add up to its length.

    ``stored`` are the newest of their key; ``outranked`` met a newer row; ``early`` claim a time
    that has not come, and would block their key until it does; ``keyless`` have a null key.
    """

    stored: int
    outranked: int
    early: int
    keyless: int


def write_table(
    store: RowStore,
    view: ViewName,
    schema: RowSchema,
    table: pa.Table,
    *,
    now_us: int,
    event: str = "event_timestamp",
    created: str | None = "created_timestamp",
    skew_us: int = CLOCK_SKEW_US,
    batch_rows: int = BATCH_ROWS,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Write a table of feature rows, in any order, any number of times: the newest stays.

    ``created`` None means that a row was known when it happened. A row that becomes visible later
    than ``now_us + skew_us`` is left out, counted and logged.

    Raises
    ------
    SchemaMismatch
        If a feature or a time is missing or is not what the schema says, or a time is null.
    BadKey
        If a key column is of another type than the schema says.
    StoreFull, StoreUnavailable
        If the store cannot take them. Writing the table again is safe.
    """
    admitted, early, keyless = _admit(
        view, schema, table, event=event, created=created, latest_us=now_us + skew_us
    )
    if early:
        _log.warning("%s: %d rows claim a time later than now and were not written", view, early)
    stored = 0
    rows_in = admitted.table.num_rows
    for start in range(0, rows_in, batch_rows):
        stop = min(start + batch_rows, rows_in)
        some = admitted.table.slice(start, stop - start)
        keys = table_keys(view, schema.keys, some)
        event_us, created_us = admitted.event_us[start:stop], admitted.created_us[start:stop]
        rows = encode_rows(schema, some, keys=keys, event_us=event_us, created_us=created_us)
        stored += store.write(view, schema, keys, rows).stored
        if progress is not None:
            progress(stop - start)
    return Written(stored, rows_in - stored, early, keyless)


@dataclass(frozen=True)
class _Admitted:
    table: pa.Table
    event_us: Int64s
    created_us: Int64s


def _admit(
    view: ViewName,
    schema: RowSchema,
    table: pa.Table,
    *,
    event: str,
    created: str | None,
    latest_us: int,
) -> tuple[_Admitted, int, int]:
    """Leave out the early and the keyless rows; return the rest and how many there were of each."""
    missing = [field.name for field in schema.keys if field.name not in table.column_names]
    if missing:
        raise SchemaMismatch(f"{view}: the rows lack keys {missing}; they have {table.column_names}.")
    event_us = exact_us(view, table, event)
    created_us = event_us if created is None else exact_us(view, table, created)
    keyless = np.zeros(table.num_rows, dtype=np.bool_)
    for field in schema.keys:
        keyless |= np.asarray(pc.is_null(table[field.name]))
    early = (np.maximum(event_us, created_us) > latest_us) & ~keyless
    if (leave := early | keyless).any():
        kept = np.flatnonzero(~leave)
        table, event_us, created_us = table.take(kept), event_us[kept], created_us[kept]
    return _Admitted(table, event_us, created_us), int(early.sum()), int(keyless.sum())


def exact_us(view: ViewName, table: pa.Table, name: str) -> Int64s:
    """Return a column of times as UTC microseconds; a time without a zone is UTC, as in Feast.

    Raises
    ------
    SchemaMismatch
        If it is missing, no timestamp, null, or finer than a microsecond.
    """
    if name not in table.column_names:
        raise SchemaMismatch(f"{view}: the rows lack '{name}'; they have {table.column_names}.")
    column = table[name]
    if not pa.types.is_timestamp(column.type) or column.null_count:
        raise SchemaMismatch(
            f"{view}: '{name}' is {column.type} with {column.null_count} nulls; "
            "it must be timestamp[us, tz=UTC] without."
        )
    ticks: Int64s = column.cast(pa.int64()).to_numpy()
    if column.type.unit == "ns":
        if (ticks % 1_000).any():
            raise SchemaMismatch(
                f"{view}: '{name}' is finer than a microsecond. Round it where it is written."
            )
        return ticks // 1_000
    return ticks * _TICKS_A_MICROSECOND[column.type.unit]
