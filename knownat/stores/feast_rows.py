"""Feast's rows, one message a value, as a table of a view's rows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from knownat.errors import SchemaMismatch
from knownat.stores.codec import RowField, RowSchema, arrow_type
from knownat.stores.feast_types import TIMES, DeclaredView
from knownat.stores.feast_values import key_columns, row_values, values_column

OnlineRow = tuple[EntityKey, Mapping[str, Value], datetime, datetime | None]

_MOMENT = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def arrow_rows(
    view: DeclaredView, schema: RowSchema, data: Sequence[OnlineRow], *, stamped_us: int | None = None
) -> pa.Table:
    """Turn rows of a view into a table of its keys, features and times.

    A time without a zone is UTC, as in Feast. ``stamped_us`` stands for the times of rows that have none
    of their own.

    Raises
    ------
    SchemaMismatch
        If rows lack features, have unknown ones or values of another kind, or a time is null.
    BadKey
        If rows have other join keys than the view.
    """
    entities, values, events, created = zip(*data, strict=True)
    keys = key_columns(view.name, schema.keys, entities)
    named = [field.name for field in schema.features]
    _refuse_unknown(view.name, values, {*named, *(field.name for field in schema.keys)})
    columns = {
        field.name: pa.array(column, arrow_type(field.dtype))
        for field, column in zip(schema.keys, keys, strict=True)
    }
    for field, column in zip(schema.features, row_values(view.name, named, values), strict=True):
        columns[field.name] = _column(view.name, field, column)
    happened, known = _times(view.name, events, created)
    if stamped_us is not None:
        happened = known = [stamped_us] * len(data)
    times = [pa.array(moments, pa.int64()).cast(_MOMENT) for moments in (happened, known)]
    return pa.table(columns | dict(zip(TIMES, times, strict=True)))


def _times(
    view: str, events: Sequence[datetime], created: Sequence[datetime | None]
) -> tuple[list[int], list[int]]:
    happened = [_microseconds(view, moment) for moment in events]
    known = [
        event if moment is None else _microseconds(view, moment)
        for event, moment in zip(happened, created, strict=True)
    ]
    return happened, known


def _column(view: str, field: RowField, values: Sequence[Value]) -> pa.Array:
    try:
        return values_column(field, values)
    except SchemaMismatch as error:
        raise SchemaMismatch(f"{view}: {error}") from error


def _refuse_unknown(view: str, rows: Sequence[Mapping[str, Value]], known: set[str]) -> None:
    if unknown := sorted(set().union(*rows) - known):
        raise SchemaMismatch(
            f"{view}: its rows have {unknown}, which it does not declare. Correct them, or its schema."
        )


def _microseconds(view: str, moment: Any) -> int:
    if moment is None or moment is pd.NaT:
        raise SchemaMismatch(f"{view}: a row's time is null; a row is known from some time on.")
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return int((aware - _EPOCH) // _MICROSECOND)
