"""The data sources of a project as temporary views that a query on Spark may name."""

import re

from feast.data_source import DataSource, KafkaSource, KinesisSource, PushSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.labeling.label_view import LabelView
from feast.repo_config import RepoConfig
from feast.types import FeastType
from pyspark.sql import SparkSession

from knownat.stores.sources import declared_types
from knownat.stores.spark_sources import read_source
from knownat.stores.spark_tables import quoted


def register_sources(
    session: SparkSession, registry: BaseRegistry, project: str, config: RepoConfig, *, query: str
) -> None:
    """Make a temporary view of each source that a query names; a stream's name means its batch source.

    What a file has no types for is read by the types that the project's views declare.
    """
    declared: dict[str, dict[str, FeastType]] = {}
    for view in registry.list_all_feature_views(project):
        if isinstance(view, FeatureView | LabelView) and view.batch_source is not None:
            declared.setdefault(view.batch_source.name, {}).update(declared_types(view))
    for source in registry.list_data_sources(project):
        stored = _stored(source)
        if not isinstance(stored, FileSource | SparkSource):
            continue
        for name in {source.name, stored.name}:
            # A source that nobody asks for may be broken, or far away.
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", query):
                rows = read_source(stored, config, session, declared.get(stored.name, {}))
                rows.createOrReplaceTempView(quoted(name))


def _stored(source: DataSource) -> DataSource | None:
    return source.batch_source if isinstance(source, PushSource | KafkaSource | KinesisSource) else source
