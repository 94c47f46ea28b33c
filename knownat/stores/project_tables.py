"""The data sources of a project as tables that a query may name."""

from collections.abc import Callable
from functools import partial

import polars as pl
from feast.data_source import DataSource, KafkaSource, KinesisSource, PushSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.labeling.label_view import LabelView
from feast.repo_config import RepoConfig
from feast.types import FeastType

from knownat.stores.sources import declared_types, scan


def project_tables(
    registry: BaseRegistry, project: str, config: RepoConfig
) -> dict[str, Callable[[], pl.LazyFrame]]:
    """Tell how to open each file source by its name; a stream's name means its batch source.

    What a file has no types for is read by the types that the project's views declare.
    """
    declared: dict[str, dict[str, FeastType]] = {}
    for view in registry.list_all_feature_views(project):
        if isinstance(view, FeatureView | LabelView) and view.batch_source is not None:
            declared.setdefault(view.batch_source.name, {}).update(declared_types(view))
    tables: dict[str, Callable[[], pl.LazyFrame]] = {}
    for source in registry.list_data_sources(project):
        stored = _stored(source)
        if isinstance(stored, FileSource):
            types = declared.get(stored.name, {})
            tables[source.name] = tables[stored.name] = partial(scan, stored, config, types)
    return tables


def _stored(source: DataSource) -> DataSource | None:
    return source.batch_source if isinstance(source, PushSource | KafkaSource | KinesisSource) else source
