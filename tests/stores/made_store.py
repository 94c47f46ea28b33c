"""Feast stores made on the spot: definitions applied in this process, tables written beside them."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RegistryConfig, RepoConfig
from feast.types import FeastType, Int64, String

from tests.stores import shop

US = pa.timestamp("us", tz="UTC")
PLACE = Entity(name="place", join_keys=["place"], value_type=ValueType.STRING)


def make_store(
    folder: Path, *definitions: Any, memory_limit_mb: int = 2_000, **settings: Any
) -> FeatureStore:
    """Apply definitions in a new registry of ``folder``; nothing goes online."""
    config = RepoConfig(
        project="made",
        provider="local",
        registry=RegistryConfig(path=str(folder / "registry.db")),
        online_store=None,
        offline_store={
            "type": "knownat.stores.offline.AsOfOfflineStore",
            "memory_limit_mb": memory_limit_mb,
        },
        entity_key_serialization_version=3,
        **settings,
    )
    config.repo_path = folder
    store = FeatureStore(config=config)
    store.apply([*definitions])
    return store


def source(path: str, **options: Any) -> FileSource:
    """A source with the usual names of its times."""
    settings = {
        "timestamp_field": "event_timestamp",
        "created_timestamp_column": "created_timestamp",
    } | options
    return FileSource(name=settings.pop("name", "stock"), path=path, **settings)


def view(
    batch_source: FileSource,
    features: dict[str, FeastType] | None = None,
    *,
    name: str = "stock",
    entities: Sequence[Entity] = (PLACE,),
    ttl: timedelta = timedelta(0),
) -> FeatureView:
    """A view of one integer feature, unless others are named."""
    keys = [Field(name="place", dtype=String)] if PLACE in entities else []
    schema = [Field(name=n, dtype=kind) for n, kind in (features or {"amount": Int64}).items()]
    return FeatureView(name=name, entities=[*entities], schema=[*keys, *schema], source=batch_source, ttl=ttl)


def rows(
    places: Sequence[str | None], hours: Sequence[float], amounts: Sequence[int | None], **more: Any
) -> pa.Table:
    """Rows known when they happened."""
    times = pa.array([shop.at(hour) for hour in hours], US)
    return pa.table(
        {
            "place": pa.array(places, pa.string()),
            "event_timestamp": times,
            "created_timestamp": times,
            "amount": pa.array(amounts, pa.int64()),
            **more,
        }
    )


def write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
