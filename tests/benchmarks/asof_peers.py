"""The contenders of the as-of join: through Feast's API, and raw joins of the libraries beneath.

Each prepares what a user has at hand (the opened store, the examples in memory) and returns the
call that makes the training frame of it, an Arrow table in any order of rows.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.asof_data import read_shape
from tests.benchmarks.asof_volume import TTL_US, VALUES, Volume

Call = Callable[[], pa.Table]
OURS = "knownat.stores.offline.AsOfOfflineStore"


def feast_store(folder: str, offline_store: str, *, created_cutoff: bool) -> Call:
    """Read through Feast's API with the offline store of this name."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.repo_config import RepoConfig
    from feast.types import Float64

    home, shape = Path(folder), read_shape(Path(folder))
    config = RepoConfig(
        project="bench",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{home}/{offline_store.rpartition('.')[2]}.db"},
        online_store=None,
        offline_store={"type": offline_store},
        entity_key_serialization_version=3,
        repo_path=home,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=view,
            entities=[entity],
            ttl=timedelta(days=shape.ttl_days),
            schema=[Field(name=name, dtype=Float64) for name in shape.feature_names(view)],
            source=FileSource(
                path=str(home / f"{view}.parquet"),
                timestamp_field="event_timestamp",
                created_timestamp_column="created_timestamp",
            ),
            online=False,
        )
        for view in shape.view_names()
    ]
    store.apply([entity, *views])
    examples = pq.read_table(home / "examples.parquet").to_pandas()
    features = [f"{view}:{name}" for view in shape.view_names() for name in shape.feature_names(view)]
    cutoff = {"filter_by_created_timestamp": True} if created_cutoff else {}
    return lambda: store.get_historical_features(examples, features, **cutoff).to_arrow()


def feast_saved(folder: str, *, keys: int, events: int, questions: int) -> Call:
    """Ask the questions of a volume through Feast's API, and save the answers as a Parquet file."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
    from feast.repo_config import RepoConfig
    from feast.types import Int64

    home, volume = Path(folder), Volume(keys, events, questions)
    config = RepoConfig(
        project="bench",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{home}/registry.db"},
        online_store=None,
        offline_store={"type": OURS},
        entity_key_serialization_version=3,
        repo_path=home,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    view = FeatureView(
        name="volume",
        entities=[entity],
        ttl=timedelta(microseconds=TTL_US),
        schema=[Field(name=name, dtype=Int64) for name in VALUES],
        source=FileSource(
            path=str(home / "rows.parquet"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
        online=False,
    )
    store.apply([entity, view])
    examples = volume.ask().to_pandas()
    features = [f"volume:{name}" for name in VALUES]

    def save() -> pa.Table:
        job = store.get_historical_features(examples, features, filter_by_created_timestamp=True)
        job.persist(SavedDatasetFileStorage(path=str(home / "answers.parquet")), allow_overwrite=True)
        return pa.table({})

    return save


def polars_asof(folder: str, *, created_cutoff: bool) -> Call:
    """Join with Polars; with the cut-off, rows that an earlier known one outdoes are dropped first."""
    import polars as pl

    home, shape = Path(folder), read_shape(Path(folder))
    examples = pl.read_parquet(home / "examples.parquet")
    event, created = pl.col("event_timestamp"), pl.col("created_timestamp")

    def rows_of(view: str) -> pl.DataFrame:
        names = ["entity", *shape.feature_names(view)]
        rows = pl.scan_parquet(home / f"{view}.parquet")
        if not created_cutoff:
            return rows.select("event_timestamp", *names).sort("event_timestamp").collect()
        rows = rows.with_columns(visible=pl.max_horizontal(event, created)).sort("visible", event, created)
        rows = rows.filter(event >= event.cum_max().over("entity"))
        times = [pl.col("visible").alias("event_timestamp"), event.alias("happened")]
        return rows.select(*times, *names).collect()

    def join() -> pa.Table:
        asked = examples.sort("event_timestamp")
        tolerance = None if created_cutoff else f"{shape.ttl_days}d"
        for view in shape.view_names():
            asked = asked.join_asof(
                rows_of(view), on="event_timestamp", by="entity", tolerance=tolerance, check_sortedness=False
            )
            if created_cutoff:
                fresh = pl.col("happened") >= event - timedelta(days=shape.ttl_days)
                values = [pl.when(fresh).then(name).alias(name) for name in shape.feature_names(view)]
                asked = asked.with_columns(values).drop("happened")
        return asked.to_arrow()

    return join


def duckdb_asof(folder: str, *, created_cutoff: bool) -> Call:
    """Join with DuckDB's ASOF JOIN; with the cut-off, a window drops the rows that are outdone."""
    import duckdb

    home, shape = Path(folder), read_shape(Path(folder))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET asof_loop_join_threshold = 0")
    connection.register("examples", pq.read_table(home / "examples.parquet"))
    joins, columns = [], ["e.*"]
    for view in shape.view_names():
        rows, known = f"'{home}/{view}.parquet'", "event_timestamp"
        if created_cutoff:
            known = "visible"
            best = (
                "max(event_timestamp) OVER (PARTITION BY entity ORDER BY "
                "greatest(event_timestamp, created_timestamp), event_timestamp, created_timestamp)"
            )
            rows = (
                f"(SELECT *, greatest(event_timestamp, created_timestamp) AS visible FROM {rows} "
                f"QUALIFY event_timestamp >= {best})"
            )
        joins.append(
            f"ASOF LEFT JOIN {rows} AS {view} "
            f"ON e.entity = {view}.entity AND e.event_timestamp >= {view}.{known}"
        )
        fresh = f"{view}.event_timestamp >= e.event_timestamp - INTERVAL {shape.ttl_days} DAY"
        columns += [f"CASE WHEN {fresh} THEN {name} END AS {name}" for name in shape.feature_names(view)]
    query = f"SELECT {', '.join(columns)} FROM examples AS e {' '.join(joins)}"

    def join() -> pa.Table:
        return connection.execute(query).to_arrow_table()

    return join


def pandas_asof(folder: str, *, created_cutoff: bool) -> Call:
    """Join with pandas' merge_asof, the created times ignored."""
    import pandas as pd

    if created_cutoff:
        raise NotImplementedError("merge_asof is asked without the cut-off only")
    home, shape = Path(folder), read_shape(Path(folder))
    examples = pd.read_parquet(home / "examples.parquet")
    tolerance: Any = pd.Timedelta(days=shape.ttl_days)

    def join() -> pa.Table:
        asked = examples.sort_values("event_timestamp")
        for view in shape.view_names():
            rows = pd.read_parquet(
                home / f"{view}.parquet", columns=["entity", "event_timestamp", *shape.feature_names(view)]
            ).sort_values("event_timestamp")
            asked = pd.merge_asof(asked, rows, on="event_timestamp", by="entity", tolerance=tolerance)
        return pa.Table.from_pandas(asked, preserve_index=False)

    return join
