"""What packed rows cost in CPU time: ``python -m tests.benchmarks.packed_rows``.

Reads: 20 features of three views for 1, 100 and 1000 entities, keys to decoded values with times
and statuses. Writes: 10 000 entities x 250 features from Arrow to stored rows, plus what Redis's
own process used. Best of several repetitions, ``time.process_time``.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan
from knownat.stores.codec import RowSchema
from knownat.stores.lmdb_rows import open_lmdb
from knownat.stores.packed_read import PackedReader
from knownat.stores.packed_write import write_table
from knownat.stores.redis_rows import RedisRows
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowStore
from tests.stores.packed.redis_server import RedisServer

NOW_US = 1_380_000_000_000_000
ENTITIES = 10_000
WIDTHS = {"orders": 7, "visits": 7, "returns": 6}
Line = tuple[str, str, str, float]


def main() -> None:
    """Print the table of reads, then of writes."""
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        for who, store, pid in (
            ("LMDB", open_lmdb(Path(folder) / "rows"), None),
            ("Redis", RedisRows(server.url, socket_seconds=5, read_deadline_seconds=5), server.pid),
        ):
            lines += reads(who, store)
            lines += writes(who, store, pid)
            store.close()
    for work, size, who, cost in lines:
        sys.stdout.write(f"{work:32} {size:>8} {who:24} {cost:12.6g}\n")


def reads(who: str, store: RowStore) -> list[Line]:
    """Measure reads in CPU microseconds."""
    for view, width in WIDTHS.items():
        _write(store, view, width)
    reader = PackedReader(store, _plan())
    chosen = np.random.default_rng(0).integers(0, ENTITIES, 1_000).tolist()
    costs: dict[tuple[str, int], Callable[[], object]] = {
        ("read one, values", 1): lambda: reader.read_one({"customer": chosen[0]}, NOW_US),
        ("read matrix", 1): lambda: reader.read_matrix({"customer": chosen[:1]}, NOW_US),
        ("read matrix", 100): lambda: reader.read_matrix({"customer": chosen[:100]}, NOW_US),
        ("read matrix", 1_000): lambda: reader.read_matrix({"customer": chosen}, NOW_US),
        ("read values", 100): lambda: reader.read({"customer": chosen[:100]}, NOW_US),
        ("read values", 1_000): lambda: reader.read({"customer": chosen}, NOW_US),
    }
    return [
        (f"{work}, CPU us", str(rows), who, _cost(call, times=max(20, 2_000 // rows)) * 1e6)
        for (work, rows), call in costs.items()
    ]


def writes(who: str, store: RowStore, pid: int | None) -> list[Line]:
    """Measure a write of 10 000 x 250 values in CPU seconds, here and in the server."""
    server = psutil.Process(pid) if pid else None
    before = server.cpu_times() if server else None
    schema, table = _features(250)
    view = ViewName("shop", "wide")
    ours = _cost(lambda: write_table(store, view, schema, table, now_us=NOW_US), times=1, repetitions=1)
    lines = [("write 10k x 250, CPU s", "2.5M", who, ours)]
    if server and before:
        after = server.cpu_times()
        used = after.user + after.system - before.user - before.system
        lines.append(("write 10k x 250, CPU s", "2.5M", f"{who}, server's process", used))
    return lines


def _write(store: RowStore, view: str, width: int) -> None:
    schema, table = _features(width)
    write_table(store, ViewName("shop", view), schema, table, now_us=NOW_US)


def _features(width: int) -> tuple[RowSchema, pa.Table]:
    random = np.random.default_rng(1)
    names = [f"f{i:03}" for i in range(width)]
    times = pa.array(np.full(ENTITIES, NOW_US - 1), pa.timestamp("us", tz="UTC"))
    columns = {name: pa.array(random.random(ENTITIES)) for name in names}
    keys = {"customer": pa.array(np.arange(ENTITIES))}
    table = pa.table({**keys, **columns, "event_timestamp": times, "created_timestamp": times})
    schema = RowSchema.of(keys={"customer": "int64"}, features=dict.fromkeys(names, "float64"))
    return schema, table


def _plan() -> ReadPlan:
    key = PlanKey(view_key="customer", request_key="customer", dtype="int64")
    views = tuple(
        PlanView(
            name=view,
            keys=(key,),
            ttl_us=86_400_000_000,
            features=tuple(PlanFeature(name=f"f{i:03}", dtype="double") for i in range(width)),
        )
        for view, width in WIDTHS.items()
    )
    columns = tuple(view.column(feature.name) for view in views for feature in view.features)
    return ReadPlan(project="shop", feature_service="bench", views=views, output_columns=columns)


def _cost(call: Callable[[], object], *, times: int, repetitions: int = 5) -> float:
    best = float("inf")
    for _ in range(repetitions):
        start = time.process_time()
        for _ in range(times):
            call()
        best = min(best, (time.process_time() - start) / times)
    return best


if __name__ == "__main__":
    main()
