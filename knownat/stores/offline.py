"""Feast's offline store on the as-of kernel: rows conserved, in order, no value before its time.

In ``feature_store.yaml``::

    offline_store:
      type: knownat.stores.offline.AsOfOfflineStore
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage, ValidationReference
from typing_extensions import override

from knownat.clock import to_us
from knownat.errors import RepoError
from knownat.stores.asof import join_as_of, newest_visible
from knownat.stores.sources import (
    append_parquet,
    asked_keys,
    feature_table,
    parquet_files,
    scan,
    source_path,
    ttl_microseconds,
    write_parquet,
)
from knownat.stores.tables import CREATED_US, EVENT_US, FeatureTable


class AsOfOfflineStoreConfig(FeastConfigBaseModel):
    """Configuration of the as-of store: it needs none beyond its name."""

    type: Literal["knownat.stores.offline.AsOfOfflineStore"] = "knownat.stores.offline.AsOfOfflineStore"


class AsOfRetrievalJob(RetrievalJob):
    """A retrieval that reads nothing until it is asked for its rows."""

    def __init__(
        self,
        retrieve: Callable[[], pa.Table],
        config: RepoConfig,
        *,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._retrieve = retrieve
        self._config = config
        self._on_demand = list(on_demand)
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    @override
    def to_arrow(
        self, validation_reference: ValidationReference | None = None, timeout: int | None = None
    ) -> pa.Table:
        """Retrieve the rows and compute the on-demand views from the inputs they declare.

        Feast hands each on-demand view every column as Python objects: most of the time of a wide
        frame. It also lets a body read what it never declared, and fail when it is served.
        """
        if validation_reference is not None:
            return super().to_arrow(validation_reference=validation_reference, timeout=timeout)
        rows = self._to_arrow_internal(timeout)
        asked = set(self._metadata.features) if self._metadata else set()
        for view in self._on_demand:
            made = view.transform_arrow(rows.select(_inputs(view, rows)), self._full_feature_names)
            name = view.projection.name_to_use()
            for feature in view.projection.features:
                if f"{name}:{feature.name}" in asked:
                    column = f"{name}__{feature.name}" if self._full_feature_names else feature.name
                    rows = rows.append_column(column, made[column])
        return rows

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        del timeout  # the kernel cannot be interrupted
        return self._retrieve()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are named ``view__feature``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The on-demand views that Feast computes from the retrieved rows."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._metadata

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Write the rows to one Parquet file, whole or not at all."""
        path = source_path(storage.to_data_source(), self._config)
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        write_parquet(path, self.to_arrow(timeout=timeout))


class AsOfOfflineStore(OfflineStore):
    """Historical reads and materialization by visible time; Parquet files underneath."""

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
        **unsupported: object,
    ) -> AsOfRetrievalJob:
        """Join every example with its newest row; with the created cut-off if Feast asks for it."""
        if not isinstance(entity_df, pd.DataFrame) or unsupported:
            asked = "a SQL query" if isinstance(entity_df, str) else f"a time range ({sorted(unsupported)})"
            raise RepoError(
                f"The as-of store does not support {asked} as examples yet. Pass a DataFrame with the "
                "entity keys and event_timestamp."
            )
        event_timestamp = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        examples = _examples(entity_df, event_timestamp)

        def retrieve() -> pa.Table:
            frame = pl.DataFrame(examples)
            result = examples
            for view in feature_views:
                features = _requested(view, feature_refs)
                found = join_as_of(
                    frame,
                    feature_table(view, config),
                    features=features,
                    keys=asked_keys(view),
                    event_timestamp=event_timestamp,
                    ttl_us=ttl_microseconds(view),
                    created_cutoff=filter_by_created_timestamp,
                )
                prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
                result = _append(result, found.values, prefix)
            return result

        times = pd.to_datetime(entity_df[event_timestamp], utc=True)
        return AsOfRetrievalJob(
            retrieve,
            config,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in entity_df.columns if name != event_timestamp],
                min_event_timestamp=times.min().to_pydatetime() if len(times) else None,
                max_event_timestamp=times.max().to_pydatetime() if len(times) else None,
            ),
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
    ) -> AsOfRetrievalJob:
        """Find every key with a row that became visible in (start, end], and its newest visible row.

        The window is one of visible time: a backfilled row has an old event, and a row of yesterday
        may become known tomorrow.
        """
        table = FeatureTable(
            name=data_source.name,
            rows=scan(data_source, config),
            keys=tuple(join_key_columns),
            event=timestamp_field,
            created=created_timestamp_column or None,
            features=tuple(feature_name_columns),
        )

        def retrieve() -> pa.Table:
            since, until = _window(start_date, end_date, data_source.name)
            return _under_source_names(newest_visible(table, since_us=since, until_us=until), table)

        return AsOfRetrievalJob(retrieve, config)

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
    ) -> AsOfRetrievalJob:
        """Read all rows of an event window, both ends included, as they are stored."""
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]

        def retrieve() -> pa.Table:
            rows = scan(data_source, config).select([*dict.fromkeys(filter(None, columns))])
            event = pl.col(timestamp_field)
            kind = rows.collect_schema()[timestamp_field]
            if start_date:
                rows = rows.filter(event >= pl.lit(_utc(start_date)).cast(kind))
            if end_date:
                rows = rows.filter(event <= pl.lit(_utc(end_date)).cast(kind))
            return _arrow(rows.collect())

        return AsOfRetrievalJob(retrieve, config)

    @staticmethod
    @override
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows to a view's source; a column too many, too few or lossy is refused."""
        if feature_view.batch_source is None:
            raise RepoError(f"View '{feature_view.name}' has no batch source to write to.")
        schema = pq.read_schema(parquet_files(feature_view.batch_source, config)[0])
        if sorted(schema.names) != sorted(table.column_names):
            raise RepoError(
                f"View '{feature_view.name}': the rows have columns {table.column_names}; its source "
                f"has {schema.names}. Send exactly those."
            )
        try:
            rows = table.select(schema.names).cast(schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise RepoError(f"View '{feature_view.name}': the rows do not fit its source: {error}") from error
        append_parquet(source_path(feature_view.batch_source, config), rows)
        if progress:
            progress(rows.num_rows)


def _examples(entity_df: pd.DataFrame, event_timestamp: str) -> pa.Table:
    times = entity_df[event_timestamp]
    if not pd.api.types.is_datetime64_any_dtype(times):
        entity_df = entity_df.assign(**{event_timestamp: pd.to_datetime(times, utc=True)})
    try:
        return pa.Table.from_pandas(entity_df, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise RepoError(f"The examples have a column of mixed types: {error}") from error


def _requested(view: FeatureView, feature_refs: Sequence[str]) -> list[str]:
    prefix = f"{view.projection.name_to_use()}:"
    return [*dict.fromkeys(ref.removeprefix(prefix) for ref in feature_refs if ref.startswith(prefix))]


def _append(result: pa.Table, values: pl.DataFrame, prefix: str) -> pa.Table:
    found = _arrow(values)
    for feature in values.columns:
        name = prefix + feature
        if name in result.column_names:
            raise RepoError(
                f"The examples or another view already have a column '{name}'. Rename it there, or ask "
                "with full feature names."
            )
        result = result.append_column(name, found[feature])
    return result


def _inputs(view: OnDemandFeatureView, rows: pa.Table) -> list[str]:
    names = [field.name for source in view.source_request_sources.values() for field in source.schema]
    for source in view.source_feature_view_projections.values():
        prefix = f"{source.name_alias or source.name}__"
        names += [name for field in source.features for name in (prefix + field.name, field.name)]
    have = set(rows.column_names)
    return [name for name in dict.fromkeys(names) if name in have]


def _under_source_names(rows: pl.DataFrame, table: FeatureTable) -> pa.Table:
    moment = pl.Datetime("us", "UTC")
    times = [pl.col(EVENT_US).cast(moment).alias(table.event)]
    if table.created and table.created != table.event:
        times.append(pl.col(CREATED_US).cast(moment).alias(table.created))
    return _arrow(rows.select(*table.keys, *table.features, *times))


def _window(start: datetime, end: datetime, name: str) -> tuple[int, int]:
    since, until = to_us(_utc(start)), to_us(_utc(end))
    if since > until:
        raise RepoError(f"{name}: the window ends ({end}) before it starts ({start}). Swap them.")
    return since, until


def _utc(when: datetime) -> datetime:
    # Feast passes both kinds; without a zone it means UTC.
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
