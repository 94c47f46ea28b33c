"""Feast's offline store on the as-of kernel: rows conserved, in order, no value before its time.

In ``feature_store.yaml``::

    offline_store:
      type: knownat.stores.offline.AsOfOfflineStore
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource
from feast.infra.offline_stores.offline_store import OfflineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import Field
from typing_extensions import override

from knownat.errors import RepoError
from knownat.stores.examples import Examples, FrameExamples, MadeExamples
from knownat.stores.historical import Join, check_readable, examples_of_range
from knownat.stores.locations import locate
from knownat.stores.parquet_writes import append_rows
from knownat.stores.picking import ROW_BYTES
from knownat.stores.project_tables import project_tables
from knownat.stores.pulls import Pull
from knownat.stores.retrieval import AsOfRetrievalJob, TableJob, Wanted
from knownat.stores.scanning import Opened, partition_names
from knownat.stores.sources import asked_keys, batch_source, source_schema

_log = logging.getLogger(__name__)


class AsOfOfflineStoreConfig(FeastConfigBaseModel):
    """Configuration of the as-of store: its name is enough."""

    type: Literal["knownat.stores.offline.AsOfOfflineStore"] = "knownat.stores.offline.AsOfOfflineStore"
    memory_limit_mb: int = Field(default=2_000, ge=16)
    """About how much of a table is in memory at once, beside the examples and one column of features;
    a larger table is read slice by slice."""


class AsOfOfflineStore(OfflineStore):
    """Historical reads and materialization by visible time; files underneath."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    @override
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> AsOfRetrievalJob:
        """Join every example with its newest row; with the created cut-off if Feast asks for it.

        ``entity_df`` is a data frame, one SELECT over the project's data sources, or None for every
        key and event time that the views have from ``start_date`` to ``end_date``.
        """
        for view in feature_views:
            check_readable(view)
        wanted = Wanted(
            feature_refs=feature_refs,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
        )
        join = Join(
            views=feature_views,
            feature_refs=feature_refs,
            full_feature_names=full_feature_names,
            created_cutoff=filter_by_created_timestamp,
            most_rows=config.offline_store.memory_limit_mb * 1_000_000 // ROW_BYTES,
        )
        examples: Examples
        if isinstance(entity_df, pd.DataFrame):
            keys = [name for view in feature_views for name in asked_keys(view).values()]
            examples = FrameExamples(entity_df, [*keys, *wanted.request_inputs])
        elif isinstance(entity_df, str):
            examples = _queried(entity_df, registry, project, config)
        else:
            examples = examples_of_range(feature_views, config, start_date, end_date)
        return AsOfRetrievalJob(
            examples,
            lambda stop: join.find(examples.questions(stop), config, stop),
            wanted,
            config,
            stream=lambda stop: join.columns(examples.questions(stop), config, stop),
        )

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
        """Find every key with a row that became visible in (start, end], and its newest visible row.

        The window is one of visible time: a backfilled row has an old event, and a row of yesterday
        may become known tomorrow.
        """
        pull = Pull(
            source=data_source,
            keys=join_key_columns,
            features=feature_name_columns,
            event=timestamp_field,
            created=created_timestamp_column,
        )
        return TableJob(lambda _: pull.newest(config, start_date, end_date), config)

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
        pull = Pull(
            source=data_source,
            keys=join_key_columns,
            features=feature_name_columns,
            event=timestamp_field,
            created=created_timestamp_column,
        )
        return TableJob(lambda _: pull.all(config, start_date, end_date), config)

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
        location = locate(source, config)
        schema = source_schema(source, config)
        # Feast has already renamed what the source's field mapping renames.
        own = {new: old for old, new in (source.field_mapping or {}).items() if new not in schema.names}
        table = table.rename_columns([own.get(name, name) for name in table.column_names])
        if sorted(schema.names) != sorted(table.column_names):
            raise RepoError(
                f"View '{feature_view.name}': the rows have columns {table.column_names}; its source "
                f"has {schema.names}. Send exactly those."
            )
        try:
            rows = table.select(schema.names).cast(schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise RepoError(f"View '{feature_view.name}': the rows do not fit its source: {error}") from error
        append_rows(location, rows, partition_by=partition_names(Opened.now(location)))
        if progress:
            progress(rows.num_rows)

    @staticmethod
    @override
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add logged features to the folder their service names, as one more file, whole or not at all."""
        del source, registry
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise RepoError(f"Logs go to a {type(destination).__name__}; this store writes to files.")
        rows = pq.read_table(data) if isinstance(data, Path) else data
        location = locate(destination.to_data_source(), config)
        append_rows(location, rows, partition_by=destination.partition_by or (), inside=True)

    @override
    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Warn if a file source cannot be read yet, as Feast does; other sources check themselves."""
        if not isinstance(data_source, FileSource):
            data_source.validate(config)
            return
        try:
            columns = source_schema(data_source, config).names
        except RepoError as error:
            _log.warning("%s", error)
            return
        if data_source.timestamp_field and data_source.timestamp_field not in columns:
            field = data_source.timestamp_field
            _log.warning("Source '%s' has no column '%s'; it has %s.", data_source.name, field, columns)

    @override
    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """Name the columns of any source that this store reads, for those a definition leaves out."""
        if not isinstance(data_source, FileSource):
            return data_source.get_table_column_names_and_types(config)
        return [(field.name, str(field.type)) for field in source_schema(data_source, config)]


def _queried(query: str, registry: BaseRegistry, project: str, config: RepoConfig) -> MadeExamples:
    # DuckDB takes 20 MB, and most retrievals ask with a data frame.
    from knownat.stores.entity_sql import query_examples

    tables = project_tables(registry, project, config)
    return MadeExamples(lambda stop: query_examples(query, tables, stop))
