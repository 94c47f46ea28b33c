"""The features of a retrieval on Spark: every view asked in one plan, nothing through the driver."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.feature_view import FeatureView
from feast.repo_config import RepoConfig
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql import types as tp

from knownat.clock import to_us
from knownat.errors import RepoError
from knownat.stores.examples import EVENT_TIMESTAMP, event_timestamp_of
from knownat.stores.sources import asked_keys, ttl_microseconds
from knownat.stores.spark_asof import Ask, Asked, join_as_of
from knownat.stores.spark_sources import spark_table
from knownat.stores.spark_tables import key_type, microseconds, named

PLACE = "__place"
"""Where an example belongs in the result."""

_BATCH_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
_LEAST_BATCH_ROWS, _BATCHES = 10_000, 64


@dataclass(frozen=True, kw_only=True)
class SparkJoin:
    """Which features of which views to find for examples."""

    views: Sequence[FeatureView]
    feature_refs: Sequence[str]
    full_feature_names: bool
    created_cutoff: bool
    config: RepoConfig
    session: SparkSession

    def find(self, examples: DataFrame, event_timestamp: str, asked: Asked | None) -> DataFrame:
        """Return the examples with their features behind their own columns.

        Raises
        ------
        RepoError
            If a view's table cannot be read, or two columns would have one name.
        """
        asks = [
            Ask(
                table=spark_table(view, self.config, self.session),
                keys=asked_keys(view),
                features=self._names(view),
                ttl_us=ttl_microseconds(view),
            )
            for view in self.views
        ]
        taken = [name for name in self.features if name in examples.columns]
        if taken:
            raise RepoError(
                f"The examples already have a column '{taken[0]}'. Rename it there, or ask with full feature "
                "names."
            )
        return join_as_of(
            examples, asks, event_timestamp=event_timestamp, asked=asked, created_cutoff=self.created_cutoff
        )

    @cached_property
    def features(self) -> list[str]:
        """The names of the new columns, in order.

        Raises
        ------
        RepoError
            If two views have a feature of the same name.
        """
        names = [name for view in self.views for name in self._names(view).values()]
        if doubled := [name for place, name in enumerate(names) if name in names[:place]]:
            raise RepoError(f"Two views have a feature '{doubled[0]}'. Ask with full feature names.")
        return names

    def _names(self, view: FeatureView) -> dict[str, str]:
        refs = f"{view.projection.name_to_use()}:"
        asked = dict.fromkeys(r.removeprefix(refs) for r in self.feature_refs if r.startswith(refs))
        prefix = f"{view.projection.name_alias or view.name}__" if self.full_feature_names else ""
        return {feature: prefix + feature for feature in asked}


class ClusterExamples:
    """Examples that stay on the cluster: a query's rows, a data frame of Spark's, or a range of time."""

    def __init__(self, make: Callable[[], DataFrame]) -> None:
        self._make = make

    @cached_property
    def rows(self) -> DataFrame:
        """The examples, each with its place in their own order."""
        rows = self._make()
        # Partitions are numbered in the order of the rows, and rows within them as they come.
        return rows.withColumn(PLACE, fn.monotonically_increasing_id())

    @property
    def columns(self) -> list[str]:
        """Their own columns."""
        return [name for name in self.rows.columns if name != PLACE]

    @cached_property
    def event_timestamp(self) -> str:
        """The column with the times of the questions."""
        kinds = (tp.TimestampType, tp.TimestampNTZType)
        times = [column.name for column in self.rows.schema.fields if isinstance(column.dataType, kinds)]
        return event_timestamp_of(self.columns, times)

    @cached_property
    def asked(self) -> Asked | None:
        """The span of their times, which costs a job of its own; None if there are no examples."""
        kind = self.rows.schema[self.event_timestamp].dataType
        time = microseconds(self.event_timestamp, kind, where="The examples' column")
        span = self.rows.agg(fn.min(time), fn.max(time)).first()
        return None if span is None or span[0] is None else Asked(first_us=span[0], last_us=span[1])


def query_rows(session: SparkSession, query: str) -> DataFrame:
    """Run one SELECT in Spark's dialect; it is parsed as a subquery, so that it can be nothing else."""
    return session.sql(f"SELECT * FROM (\n{query.strip().rstrip(';')}\n)")


def uploaded(session: SparkSession, table: pa.Table) -> DataFrame:
    """Send a table's rows to the cluster, each with its place.

    Raises
    ------
    RepoError
        If a column is of a type that Spark has not, or finer than it can hold.
    """
    columns = {name: _for_spark(name, table[name]) for name in table.column_names}
    columns[PLACE] = pa.chunked_array([np.arange(table.num_rows, dtype=np.int64)])
    # A batch becomes a partition: thousands of small ones would cost more than the join.
    session.conf.set(_BATCH_ROWS, str(max(_LEAST_BATCH_ROWS, table.num_rows // _BATCHES)))
    try:
        return session.createDataFrame(pa.table(columns))
    finally:
        session.conf.unset(_BATCH_ROWS)


def span_of(table: pa.Table, event_timestamp: str) -> Asked | None:
    """Return the span of a table's times; None if it has none.

    Raises
    ------
    RepoError
        If a time is finer than a microsecond.
    """
    if not pa.types.is_timestamp(table[event_timestamp].type):
        return None
    span = pc.min_max(_for_spark(event_timestamp, table[event_timestamp]).cast(pa.int64())).as_py()
    return None if span["min"] is None else Asked(first_us=span["min"], last_us=span["max"])


def range_rows(
    views: Sequence[FeatureView], config: RepoConfig, session: SparkSession, start: datetime, end: datetime
) -> DataFrame:
    """Collect the distinct keys and event times that views have from ``start`` to ``end``, oldest first."""
    parts = [_in_range(view, config, session, start, end) for view in views]
    together = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts).distinct()
    order = [EVENT_TIMESTAMP, *(name for name in together.columns if name != EVENT_TIMESTAMP)]
    return together.select(*map(named, order)).orderBy(*(named(name).asc_nulls_last() for name in order))


def _in_range(
    view: FeatureView, config: RepoConfig, session: SparkSession, start: datetime, end: datetime
) -> DataFrame:
    table, keys = spark_table(view, config, session), asked_keys(view)
    stored = table.stored
    if missing := [name for name in (table.event, *keys) if name not in stored]:
        raise RepoError(f"{view.name}: its table has no column {missing}; it has {sorted(stored)}.")
    event = microseconds(table.event, stored[table.event], where=f"{view.name}, column")
    rows = table.rows.where(event.between(to_us(start), to_us(end)))
    names = [fn.timestamp_micros(event).alias(EVENT_TIMESTAMP)]
    for key, column in keys.items():
        names.append(named(key).cast(key_type(key, stored[key], where=view.name)).alias(column))
    rows = rows.select(*names)
    for column in keys.values():
        rows = rows.where(named(column).isNotNull())
    return rows.distinct()


_WIDER = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.int64()}


def _for_spark(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(kind):
        kind = pa.timestamp("us", kind.tz)
    try:
        return column.cast(_WIDER.get(kind, kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise RepoError(f"The examples' column '{name}' cannot be used as it is: {error}") from error
