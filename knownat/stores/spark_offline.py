"""Feast's offline store on Spark: the same definitions and the same rules, past one machine.

In ``feature_store.yaml``::

    offline_store:
      type: knownat.stores.spark_offline.SparkAsOfOfflineStore
      spark_conf:
        spark.master: spark://cluster:7077

``spark_conf`` holds any setting of Spark's. An application that runs already is used as it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import compute_non_entity_date_range
from pydantic import Field
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn
from typing_extensions import override

from knownat.clock import to_us
from knownat.errors import RepoError
from knownat.stores.arrow_tables import feast_arrow
from knownat.stores.asof import AsOf
from knownat.stores.deadline import Stop
from knownat.stores.examples import FrameExamples
from knownat.stores.historical import check_readable
from knownat.stores.newest_rows import BATCH_VALUES, NewestRows
from knownat.stores.offline import AsOfOfflineStore
from knownat.stores.pulls import as_utc
from knownat.stores.retrieval import TableJob, Wanted
from knownat.stores.sources import asked_keys, batch_source
from knownat.stores.spark_asof import Ask, join_as_of, newest_in, newest_visible
from knownat.stores.spark_historical import (
    PLACE,
    ClusterExamples,
    SparkJoin,
    query_rows,
    range_rows,
    uploaded,
)
from knownat.stores.spark_project import register_sources
from knownat.stores.spark_retrieval import ClusterPlan, FramePlan, RetrievalPlan, SparkRetrievalJob
from knownat.stores.spark_runs import collected, running
from knownat.stores.spark_session import open_session
from knownat.stores.spark_sources import read_source, spark_table
from knownat.stores.spark_tables import CREATED_US, EVENT_US, Span, SparkTable, microseconds, named
from knownat.stores.spark_writes import append_to_spark


class SparkAsOfOfflineStoreConfig(FeastConfigBaseModel):
    """Configuration of the as-of store on Spark."""

    type: Literal["knownat.stores.spark_offline.SparkAsOfOfflineStore"] = (
        "knownat.stores.spark_offline.SparkAsOfOfflineStore"
    )
    spark_conf: dict[str, str] = Field(default_factory=dict)
    """Settings of the Spark application, its master among them; by default, this machine alone."""


class SparkAsOfOfflineStore(AsOfOfflineStore):
    """Historical reads and materialization by visible time, on a cluster."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    @override
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> SparkRetrievalJob:
        """Join every example with its newest row; with the created cut-off if Feast asks for it.

        ``entity_df`` is a data frame of pandas or Spark, one SELECT in Spark's SQL over the
        project's data sources, or None for every key and event time that the views have from
        ``start_date`` to ``end_date``. Only a frame of pandas passes through the driver.
        """
        for view in feature_views:
            check_readable(view)
        session = _session(config)
        wanted = Wanted(
            feature_refs=feature_refs,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
        )
        join = SparkJoin(
            views=feature_views,
            feature_refs=feature_refs,
            full_feature_names=full_feature_names,
            created_cutoff=filter_by_created_timestamp,
            config=config,
            session=session,
        )
        plan: RetrievalPlan
        if isinstance(entity_df, pd.DataFrame):
            keys = [name for view in feature_views for name in asked_keys(view).values()]
            plan = FramePlan(FrameExamples(entity_df, [*keys, *wanted.request_inputs]), join)
        elif isinstance(entity_df, str):
            register_sources(session, registry, project, config, query=entity_df)
            plan = ClusterPlan(ClusterExamples(lambda: query_rows(session, entity_df)), join)
        elif entity_df is None:
            first, last = _range(feature_views, start_date, end_date)
            rows = ClusterExamples(lambda: range_rows(feature_views, config, session, first, last))
            plan = ClusterPlan(rows, join)
        else:
            plan = ClusterPlan(ClusterExamples(lambda: entity_df), join)
        return SparkRetrievalJob(plan, wanted, join)

    @staticmethod
    @override
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> TableJob:
        """Find every key with a row that became visible in (start, end], and its newest visible row."""
        since, until = to_us(as_utc(start_date)), to_us(as_utc(end_date))
        if since > until:
            raise RepoError(
                f"{data_source.name}: the window ends ({end_date}) before it starts ({start_date}). "
                "Swap them."
            )

        def pull(stop: Stop) -> pa.Table:
            rows = read_source(data_source, config, _session(config))
            known = {*join_key_columns, timestamp_field, created_timestamp_column}
            table = SparkTable(
                name=data_source.name,
                rows=rows,
                keys=tuple(join_key_columns),
                event=timestamp_field,
                created=created_timestamp_column or None,
                features=tuple(feature_name_columns or (n for n in rows.columns if n not in known)),
            )
            with running(rows.sparkSession, stop):
                found = newest_visible(table, since_us=since, until_us=until)
            return collected(_under_source_names(found, table), stop)

        return TableJob(pull, config)

    @staticmethod
    @override
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> TableJob:
        """Read all rows of an event window, both ends included, as they are stored."""

        def pull(stop: Stop) -> pa.Table:
            rows = read_source(data_source, config, _session(config))
            kinds = {field.name: field.dataType for field in rows.schema.fields}
            wanted = [*join_key_columns, *feature_name_columns, timestamp_field]
            wanted += [created_timestamp_column] if created_timestamp_column else []
            if missing := [name for name in wanted if name not in kinds]:
                raise RepoError(
                    f"Source '{data_source.name}' has no column {missing}; it has {sorted(kinds)}. Correct "
                    "the definition, or the table."
                )
            where = f"Source '{data_source.name}', column"
            event = microseconds(timestamp_field, kinds[timestamp_field], where=where)
            if start_date:
                rows = rows.where(event >= to_us(as_utc(start_date)))
            if end_date:
                rows = rows.where(event <= to_us(as_utc(end_date)))
            chosen = [*dict.fromkeys(wanted)] if feature_name_columns else rows.columns
            return collected(rows.select(*map(named, chosen)), stop)

        return TableJob(pull, config)

    def newest_rows(
        self, config: RepoConfig, view: FeatureView, *, since_us: int | None, until_us: int
    ) -> NewestRows:
        """Find the newest of the rows that became visible in (since, until], a row an entity.

        What comes to the driver at once is a batch of entities, however many there are.
        """
        table = spark_table(view, config, _session(config))
        times = (EVENT_US, CREATED_US)
        found = newest_in(table, Span(since_us=since_us, until_us=until_us))
        found = found.select(*map(named, dict.fromkeys([*table.keys, *table.features])), *times).persist()
        with running(found.sparkSession, Stop()):
            entities = found.count()
        width = len(table.keys) + len(table.features) + len(times)
        return NewestRows(entities, _batches(found, table.keys, 1 + entities * width // BATCH_VALUES))

    def find_served(
        self,
        config: RepoConfig,
        view: FeatureView,
        examples: pl.DataFrame,
        *,
        features: Sequence[str],
        keys: Mapping[str, str],
        event_timestamp: str,
        known_at: str,
        ttl_us: int,
    ) -> AsOf:
        """Find each example's newest row visible by ``known_at``, expired or not."""
        session = _session(config)
        table = spark_table(view, config, session)
        needed = [*dict.fromkeys([*keys.values(), event_timestamp, known_at])]
        ask = Ask(
            table=table, keys=keys, features={f: f"f_{f}" for f in features}, ttl_us=ttl_us, found="__found"
        )
        rows = join_as_of(
            uploaded(session, feast_arrow(examples.select(needed))),
            [ask],
            event_timestamp=event_timestamp,
            known_at=known_at,
        )
        found = pl.DataFrame(collected(rows, Stop())).sort(PLACE)
        served = found["__found"].struct
        return AsOf(
            found.select(pl.col(f"f_{name}").alias(name) for name in features),
            served.field(EVENT_US),
            served.field(CREATED_US),
            served.field("expired"),
        )

    @staticmethod
    @override
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows to a view's source; a column too many, too few or lossy is refused."""
        source = batch_source(feature_view)
        if not isinstance(source, SparkSource):
            AsOfOfflineStore.offline_write_batch(config, feature_view, table, progress)
            return
        append_to_spark(source, table, _session(config), view=feature_view.name)
        if progress:
            progress(table.num_rows)

    @override
    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Check a file source as in process; a source of Spark's is checked when it is read."""
        if not isinstance(data_source, SparkSource):
            super().validate_data_source(config, data_source)

    @override
    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """Name the columns of any source that this store reads, for those a definition leaves out."""
        if not isinstance(data_source, SparkSource):
            return super().get_table_column_names_and_types_from_data_source(config, data_source)
        columns: list[tuple[str, str]] = read_source(data_source, config, _session(config)).dtypes
        return columns


def _session(config: RepoConfig) -> SparkSession:
    return open_session(config.offline_store.spark_conf)


def _range(
    views: Sequence[FeatureView], start: datetime | None, end: datetime | None
) -> tuple[datetime, datetime]:
    if end is None:
        raise RepoError("Without examples, a retrieval needs an end_date, and better a start_date too.")
    first, last = compute_non_entity_date_range(list(views), start_date=start, end_date=end)
    if first > last:
        raise RepoError(f"The range ends ({end}) before it starts ({start}). Swap them.")
    return as_utc(first), as_utc(last)


def _under_source_names(rows: DataFrame, table: SparkTable) -> DataFrame:
    times = [fn.timestamp_micros(EVENT_US).alias(table.event)]
    if table.created and table.created != table.event:
        times.append(fn.timestamp_micros(CREATED_US).alias(table.created))
    nobody = [] if table.keys else [fn.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID)]
    return rows.select(*map(named, (*table.keys, *table.features)), *times, *nobody)


def _batches(found: DataFrame, keys: Sequence[str], count: int) -> Iterator[pl.DataFrame]:
    """Bring entities to the driver in so many parts of about the same size."""
    part = fn.pmod(fn.xxhash64(*map(named, keys)), fn.lit(count)) if keys else fn.lit(0)
    try:
        for number in range(count):
            rows = found.where(part == number) if count > 1 else found
            yield pl.DataFrame(collected(rows, Stop()))
    finally:
        found.unpersist()
