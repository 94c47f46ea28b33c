"""What filling the online store costs: ``python -m tests.benchmarks.materialize``.

One wide view: 10 000 entities, 250 features (doubles, integers, text), two rows an entity, by
``FeatureStore.materialize`` throughout. Ours: visible-time engine, LMDB and Redis. The peers: Feast's
own engine with its SQLite and Redis stores. Every store is then read back, and must hold the same.
Redis' own process is stated apart.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.contenders import measure
from tests.benchmarks.table import Line, record
from tests.stores.packed.redis_server import RedisServer

WORK = "materialize, through Feast's API"
DOUBLES, INTEGERS, TEXTS = 200, 30, 20
BEFORE, START = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
END = datetime(2024, 7, 1, tzinfo=UTC)
READ_BACK = 300
PEERS = ("Feast's engine, SQLite", "Feast's engine, Redis")
Settings = Mapping[str, Any]


def main() -> int:
    """Run every contender on the same tables, and record what each needed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=10_000, help="entities")
    entities = parser.parse_args().size
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        write_tables(Path(folder), entities)
        size = f"{entities:,} entities x {DOUBLES + INTEGERS + TEXTS} features"
        lines = compare(Path(folder), server, size)
    record(lines)
    return 0


def compare(folder: Path, server: RedisServer, size: str) -> list[Line]:
    """Measure each contender, and check that its store answers as the first one's."""
    lines: list[Line] = []
    first: pa.Table | None = None
    process = psutil.Process(server.pid)
    for number, (who, stores) in enumerate(contenders(server).items()):
        used = process.cpu_times()
        asked = {"folder": str(folder), "name": f"repo{number}", "stores": stores}
        cost = measure("tests.benchmarks.materialize:filling", repeat=0, **asked)
        after = process.cpu_times()
        saved = folder / "read.parquet"
        measure("tests.benchmarks.materialize:reading_back", repeat=0, save=saved, **asked)
        found = pq.read_table(saved)
        first = found if first is None else first
        if not found.equals(first):
            raise SystemExit(f"{who} holds other values than the first contender")
        lines.append(line(size, who, cost.cold_cpu, cost.peak_mb))
        if "Redis" in who:
            busy = after.user + after.system - used.user - used.system
            lines.append(line(size, f"{who}: redis-server itself", busy, None))
    # Each against Feast's engine on a store of the same kind.
    spent = {row["who"]: row["cpu_seconds"] for row in lines}
    for row in lines:
        peer = PEERS["Redis" in row["who"]]
        row["ratio"] = None if "itself" in row["who"] else spent[peer] / row["cpu_seconds"]
    return lines


def line(size: str, who: str, cpu: float, peak: float | None) -> Line:
    return {"work": WORK, "size": size, "who": who, "cpu_seconds": cpu, "peak_mb": peak, "ratio": None}


def contenders(server: RedisServer) -> dict[str, Settings]:
    """What each contender's feature_store.yaml says of its stores."""
    feasts = {"offline_store": {"type": "dask"}}
    ours = {
        "offline_store": {"type": "knownat.stores.offline.AsOfOfflineStore"},
        "batch_engine": {"type": "knownat.stores.compute.VisibleComputeEngine"},
    }
    lmdb = {"type": "knownat.stores.lmdb_online.LmdbOnlineStore", "path": "rows"}
    redis = {"type": "knownat.stores.redis_online.RedisOnlineStore", "read_deadline_seconds": 10}
    at = f"127.0.0.1:{server.port}"
    return {
        "ours, LMDB": {**ours, "online_store": lmdb},
        "ours, Redis": {**ours, "online_store": {**redis, "connection_string": f"{at},db=1"}},
        PEERS[0]: {**feasts, "online_store": {"type": "sqlite", "path": "online.db"}},
        PEERS[1]: {
            **feasts,
            "online_store": {"type": "redis", "connection_string": f"{at},db=2"},
        },
    }


def write_tables(folder: Path, entities: int) -> None:
    """Write two rows an entity, and a small table to warm up with."""
    for name, count in (("wide", entities), ("small", 10)):
        table = pa.concat_tables([_rows(count, BEFORE, seed=1), _rows(count, START, seed=2)])
        pq.write_table(table, folder / f"{name}.parquet")


def _rows(count: int, when: datetime, *, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    times = pa.array([when + timedelta(seconds=i) for i in range(count)], pa.timestamp("us", tz="UTC"))
    columns = {"entity": pa.array(np.arange(count)), "event_timestamp": times, "created_timestamp": times}
    columns |= {f"d{i:03}": pa.array(random.random(count)) for i in range(DOUBLES)}
    columns |= {f"i{i:03}": pa.array(random.integers(0, 2**40, count)) for i in range(INTEGERS)}
    columns |= {
        f"t{i:03}": pa.array(random.integers(0, 10**6, count)).cast(pa.string()) for i in range(TEXTS)
    }
    return pa.table(columns)


def filling(folder: str, name: str, stores: Settings) -> Callable[[], None]:
    """Apply a repo, fill its small view to warm up, and return the call that fills the wide one."""
    store = _store(folder, name, stores)
    store.materialize(BEFORE, END, feature_views=["small"])
    return lambda: store.materialize(BEFORE, END, feature_views=["wide"])


def reading_back(folder: str, name: str, stores: Settings) -> Callable[[], pa.Table]:
    """Return the call that reads entities, the last one and an unknown one among them."""
    store = _store(folder, name, stores)
    count = pq.read_metadata(Path(folder) / "wide.parquet").num_rows // 2
    keys = [*range(0, count, max(1, count // READ_BACK)), count - 1, count + 7]
    names = list(_features())
    features = [f"wide:{name}" for name in names]
    rows = [{"entity": key} for key in keys]
    # Feast's order of columns is another one in each process.
    return lambda: pa.table(store.get_online_features(features, rows).to_dict()).select(["entity", *names])


def _features() -> dict[str, Any]:
    from feast.types import Float64, Int64, String

    kinds = {"d": (DOUBLES, Float64), "i": (INTEGERS, Int64), "t": (TEXTS, String)}
    return {f"{letter}{i:03}": kind for letter, (count, kind) in kinds.items() for i in range(count)}


def _store(folder: str, name: str, stores: Settings) -> Any:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.repo_config import RepoConfig

    home = Path(folder) / name
    home.mkdir(exist_ok=True)
    online = dict(stores["online_store"])
    if online.get("path") == "online.db":
        online["path"] = str(home / "online.db")
    config = RepoConfig(
        project="bench",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{home}/registry.db"},
        entity_key_serialization_version=3,
        repo_path=home,
        **{**stores, "online_store": online},
    )
    store = FeatureStore(config=config)
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=view,
            entities=[entity],
            ttl=timedelta(0),
            schema=[Field(name=name, dtype=kind) for name, kind in _features().items()],
            source=FileSource(
                path=str(Path(folder) / f"{view}.parquet"),
                timestamp_field="event_timestamp",
                created_timestamp_column="created_timestamp",
            ),
        )
        for view in ("wide", "small")
    ]
    store.apply([entity, *views])
    return store


if __name__ == "__main__":
    sys.exit(main())
