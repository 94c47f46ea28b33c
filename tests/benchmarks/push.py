"""What writing events as they happen costs: ``python -m tests.benchmarks.push``.

One view of ten features (doubles, integers, text, a boolean), events of 5 000 customers. By
``FeatureStore.push``, one event at a time and a thousand together, into our stores and into Feast's
SQLite and Redis stores; and a stream of batches of a thousand straight from Arrow, which only ours
take. Every store is then read back, and must hold the same. Redis' own process is stated apart.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.contenders import measure
from tests.benchmarks.table import Line, record
from tests.stores.packed.redis_server import RedisServer

ONE, MANY, STREAM = (
    "push, one event at a time",
    "push, a thousand events together",
    "write a stream of events, straight from Arrow",
)
CUSTOMERS = 5_000
TOGETHER = 1_000
START = datetime(2024, 1, 1, tzinfo=UTC)
DOUBLES, INTEGERS = [f"d{i}" for i in range(5)], [f"i{i}" for i in range(3)]
PEERS = {"SQLite": "Feast, SQLite", "Redis": "Feast, Redis"}
Settings = Mapping[str, Any]


def main() -> int:
    """Push the same events into every store, and record what each needed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20_000, help="events pushed a thousand together")
    parser.add_argument("--one", type=int, default=300, help="events pushed one at a time")
    parser.add_argument("--stream", type=int, default=600_000, help="events of the stream")
    sizes = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        lines: list[Line] = []
        for work, events, how in (
            (ONE, sizes.one, "pushing_one"),
            (MANY, sizes.size, "pushing_many"),
            (STREAM, sizes.stream, "streaming"),
        ):
            lines += compare(Path(folder), server, work=work, events=events, how=how)
    record(lines)
    return 0


def compare(folder: Path, server: RedisServer, *, work: str, events: int, how: str) -> list[Line]:
    """Measure each contender that can do this work, and check that its store answers as the first."""
    lines: list[Line] = []
    first: pa.Table | None = None
    process = psutil.Process(server.pid)
    size = f"{events:,} events"
    for number, (who, stores) in enumerate(contenders(server).items()):
        if how == "streaming" and (who in PEERS.values() or "strict" in who):
            continue
        used = process.cpu_times()
        asked = {"folder": str(folder), "name": f"{how}{number}", "stores": stores, "events": events}
        saved = folder / "read.parquet"
        cost = measure(f"tests.benchmarks.push:{how}", repeat=0, **asked)
        after = process.cpu_times()
        measure("tests.benchmarks.push:reading_back", repeat=0, save=saved, **asked)
        found = pq.read_table(saved)
        first = found if first is None else first
        if not found.equals(first):
            raise SystemExit(f"{who} holds other values than the first contender")
        lines.append(line(work, size, who, cost.cold_cpu, cost.peak_mb))
        if "Redis" in who:
            busy = after.user + after.system - used.user - used.system
            lines.append(line(work, size, f"{who}: redis-server itself", busy, None))
        _clear(server)
    peers = {row["who"]: row["cpu_seconds"] for row in lines if row["who"] in PEERS.values()}
    for row in lines:
        peer = peers.get(PEERS["Redis" if "Redis" in row["who"] else "SQLite"])
        row["ratio"] = None if peer is None or "itself" in row["who"] else peer / row["cpu_seconds"]
    return lines


def line(work: str, size: str, who: str, cpu: float, peak: float | None) -> Line:
    return {"work": work, "size": size, "who": who, "cpu_seconds": cpu, "peak_mb": peak, "ratio": None}


def contenders(server: RedisServer) -> dict[str, Settings]:
    """What each contender's feature_store.yaml says."""
    at = f"127.0.0.1:{server.port}"
    lmdb = {"type": "knownat.stores.lmdb_online.LmdbOnlineStore", "path": "rows"}
    redis: Settings = {
        "type": "knownat.stores.redis_online.RedisOnlineStore",
        "connection_string": at,
        "socket_seconds": 10,
        "read_deadline_seconds": 10,
    }
    strict = {"provider": "knownat.stores.provider.ExactProvider"}
    return {
        "ours, LMDB": {"online_store": lmdb},
        "ours, LMDB, strict provider": {"online_store": lmdb, **strict},
        PEERS["SQLite"]: {"online_store": {"type": "sqlite", "path": "online.db"}},
        "ours, Redis": {"online_store": redis},
        "ours, Redis, strict provider": {"online_store": redis, **strict},
        PEERS["Redis"]: {"online_store": {"type": "redis", "connection_string": at}},
    }


def _clear(server: RedisServer) -> None:
    import redis

    with redis.Redis(port=server.port) as client:
        client.flushall()


def event_rows(first: int, count: int) -> dict[str, Any]:
    """The columns of some of the events; the same events whoever writes them."""
    number = np.arange(first, first + count)
    customer = number * 7_919 % CUSTOMERS
    times = pd.Series(START + pd.to_timedelta(number, unit="ms")).astype("datetime64[us, UTC]")
    columns: dict[str, Any] = {"customer": customer, "event_timestamp": times, "created_timestamp": times}
    columns |= {name: number / (2 + place) for place, name in enumerate(DOUBLES)}
    columns |= {name: number * (3 + place) for place, name in enumerate(INTEGERS)}
    return columns | {"text": [f"e{n}" for n in number.tolist()], "flag": number % 2 == 0}


def pushing_one(folder: str, name: str, stores: Settings, events: int) -> Callable[[], None]:
    """Apply a repo and return the call that pushes events one at a time."""
    store = _store(folder, name, stores)
    frames = [pd.DataFrame(event_rows(i, 1)) for i in range(events)]
    store.push("events", frames[0])

    def push() -> None:
        for frame in frames:
            store.push("events", frame)

    return push


def pushing_many(folder: str, name: str, stores: Settings, events: int) -> Callable[[], None]:
    """Apply a repo and return the call that pushes a thousand events together."""
    store = _store(folder, name, stores)
    frames = [pd.DataFrame(event_rows(i, TOGETHER)) for i in range(0, events, TOGETHER)]
    store.push("events", frames[0].head(1))

    def push() -> None:
        for frame in frames:
            store.push("events", frame)

    return push


def streaming(folder: str, name: str, stores: Settings, events: int) -> Callable[[], None]:
    """Apply a repo and return the call that writes batches straight from Arrow."""
    store = _store(folder, name, stores)
    view = store.get_feature_view("events")
    online = store.provider.online_store
    # Making the events is not the store's work.
    batches = [pa.table(event_rows(i, TOGETHER)) for i in range(0, events, TOGETHER)]
    online.write_arrow(store.config, view, batches[0].slice(0, 1))

    def write() -> None:
        for batch in batches:
            online.write_arrow(store.config, view, batch)

    return write


def reading_back(folder: str, name: str, stores: Settings, events: int) -> Callable[[], pa.Table]:
    """Return the call that reads some customers."""
    store = _store(folder, name, stores)
    names = [*DOUBLES, *INTEGERS, "text", "flag"]
    rows = [{"customer": customer} for customer in range(0, CUSTOMERS, 37)]
    features = [f"events:{feature}" for feature in names]
    return lambda: pa.table(store.get_online_features(features, rows).to_dict()).select(["customer", *names])


def _store(folder: str, name: str, stores: Settings) -> Any:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
    from feast.repo_config import RepoConfig
    from feast.types import Bool, Float64, Int64, String

    home = Path(folder) / name
    home.mkdir(exist_ok=True)
    online = dict(stores["online_store"])
    if online.get("path") == "online.db":
        online["path"] = str(home / "online.db")
    config = RepoConfig(
        project="bench",
        registry={"path": str(home / "registry.db"), "cache_ttl_seconds": 600},
        entity_key_serialization_version=3,
        repo_path=home,
        **{"provider": "local", **stores, "online_store": online},
    )
    customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)
    schema = [
        *(Field(name=name, dtype=Float64) for name in DOUBLES),
        *(Field(name=name, dtype=Int64) for name in INTEGERS),
        Field(name="text", dtype=String),
        Field(name="flag", dtype=Bool),
    ]
    source = FileSource(
        name="table",
        path=str(home / "events.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    view = FeatureView(
        name="events",
        entities=[customer],
        ttl=timedelta(0),
        schema=[Field(name="customer", dtype=Int64), *schema],
        source=PushSource(name="events", batch_source=source),
    )
    store = FeatureStore(config=config)
    store.apply([customer, view])
    return store


if __name__ == "__main__":
    sys.exit(main())
