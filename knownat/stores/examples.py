"""The questions of a historical retrieval: a data frame, a SQL query, or a range of time.

A range stands for every distinct pair of entity keys and event time that the views have in it,
both ends included; each is asked at its own time, oldest first. Keys that a view does not have
are null in its questions. This is what Feast 0.67 tests for and its PostgreSQL, ClickHouse,
Oracle and Ray stores do; its Dask, Spark and BigQuery stores ask every key once, at the end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.errors import EntityTimestampInferenceException
from feast.feature_view import FeatureView
from feast.repo_config import RepoConfig

from knownat.errors import RepoError
from knownat.stores.arrow_tables import feast_arrow
from knownat.stores.deadline import Stop
from knownat.stores.sources import asked_keys, feature_table
from knownat.stores.tables import FeatureTable, exact_microseconds, key_type

EVENT_TIMESTAMP = "event_timestamp"

_MOMENT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Questions:
    """The columns of the examples that a retrieval needs, and which of them is the time."""

    table: pa.Table
    event_timestamp: str


class Examples(Protocol):
    """Rows to find features for."""

    def columns(self, stop: Stop) -> list[str]:
        """Name all columns."""

    def questions(self, stop: Stop) -> Questions:
        """Return what is asked."""

    def whole(self, stop: Stop) -> pa.Table:
        """Return all columns for an Arrow result."""

    def frame(self, stop: Stop) -> pd.DataFrame:
        """Return all columns for a pandas result, as they were given."""


class FrameExamples:
    """A data frame; columns that nobody asks about are never converted."""

    def __init__(self, entity_df: pd.DataFrame, needed: Sequence[str]) -> None:
        columns = dict(entity_df.dtypes)
        dates = [n for n, kind in columns.items() if pd.api.types.is_datetime64_any_dtype(kind)]
        self._event_timestamp = event_timestamp_of(list(columns), dates)
        times = entity_df[self._event_timestamp]
        if not pd.api.types.is_datetime64_any_dtype(times):
            entity_df = entity_df.assign(**{self._event_timestamp: _parsed(times)})
        self._entity_df = entity_df
        chosen = [name for name in dict.fromkeys([*needed, self._event_timestamp]) if name in columns]
        self._questions = Questions(_as_arrow(entity_df, chosen), self._event_timestamp)

    def columns(self, stop: Stop) -> list[str]:
        """Name the frame's columns."""
        del stop
        return [*self._entity_df.columns]

    def questions(self, stop: Stop) -> Questions:
        """Return the keys, times and request inputs."""
        del stop
        return self._questions

    def whole(self, stop: Stop) -> pa.Table:
        """Convert every column.

        Raises
        ------
        RepoError
            If a column has no Arrow type; ``to_df`` does not need one.
        """
        del stop
        return _as_arrow(self._entity_df)

    def frame(self, stop: Stop) -> pd.DataFrame:
        """Return the frame itself."""
        del stop
        return self._entity_df.reset_index(drop=True)


class MadeExamples:
    """Examples that are made once somebody needs them: by a query, or from a range of time."""

    def __init__(self, make: Callable[[Stop], pa.Table]) -> None:
        self._make = make
        self._made: Questions | None = None

    def columns(self, stop: Stop) -> list[str]:
        """Name the columns that were made."""
        return list(self.questions(stop).table.column_names)

    def questions(self, stop: Stop) -> Questions:
        """Make the examples, once."""
        if self._made is None:
            table = self._make(stop)
            times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
            self._made = Questions(table, event_timestamp_of(table.column_names, times))
        return self._made

    def whole(self, stop: Stop) -> pa.Table:
        """Return every column."""
        return self.questions(stop).table

    def frame(self, stop: Stop) -> pd.DataFrame:
        """Return every column."""
        frame: pd.DataFrame = self.questions(stop).table.to_pandas()
        return frame


def event_timestamp_of(columns: Sequence[object], times: Sequence[str]) -> str:
    """Find the column with the questions' times: ``event_timestamp``, or the only one with times.

    Raises
    ------
    EntityTimestampInferenceException
        If it cannot be told.
    """
    if EVENT_TIMESTAMP in columns:
        return EVENT_TIMESTAMP
    if len(times) != 1:
        raise EntityTimestampInferenceException(EVENT_TIMESTAMP)
    return times[0]


def examples_in_range(
    views: Sequence[FeatureView], config: RepoConfig, *, start: datetime, end: datetime, stop: Stop
) -> pa.Table:
    """Collect the distinct keys and event times that views have from ``start`` to ``end``.

    Raises
    ------
    RepoError
        If two views have a key of the same name and different types, or a time is not exact.
    """
    parts = []
    for view in views:
        stop.check()
        parts.append(_in_range(feature_table(view, config), asked_keys(view), start, end))
    try:
        together = pl.concat(parts, how="diagonal").unique()
    except pl.exceptions.PolarsError as error:
        raise RepoError(f"The views' keys do not fit together: {error}.") from error
    return feast_arrow(together.sort(EVENT_TIMESTAMP, *together.columns, nulls_last=True))


def _in_range(table: FeatureTable, keys: Mapping[str, str], start: datetime, end: datetime) -> pl.DataFrame:
    schema = table.rows.collect_schema()
    if missing := [name for name in (table.event, *keys) if name not in schema]:
        raise RepoError(f"{table.name}: its table has no column {missing}; it has {sorted(schema)}.")
    event = pl.col(table.event)
    moments = [pl.lit(moment).cast(schema[table.event]) for moment in (start, end)]
    rows = (
        table.rows.filter(event >= moments[0], event <= moments[1])
        .select(
            event.alias(EVENT_TIMESTAMP),
            *(pl.col(k).cast(key_type(k, schema[k], where=table.name)).alias(v) for k, v in keys.items()),
        )
        .drop_nulls(list(keys.values()))
        .unique()
        .collect()
    )
    times = exact_microseconds(rows[EVENT_TIMESTAMP], where=f"{table.name}, column '{table.event}'")
    return rows.with_columns(times.cast(_MOMENT).alias(EVENT_TIMESTAMP))


def _parsed(times: pd.Series) -> pd.Series:
    try:
        # Without a format, pandas guesses whether a day or a month comes first.
        return pd.to_datetime(times, utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        raise RepoError(f"The examples' column '{times.name}' holds no times: {error}.") from error


def _as_arrow(entity_df: pd.DataFrame, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        return pa.Table.from_pandas(entity_df, preserve_index=False, columns=columns)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise RepoError(f"The examples' columns cannot be used as they are: {error}") from error
