"""What an online read costs: ``python -m tests.benchmarks.online_read``.

Two questions, for 1, 100 and 1000 rows: one entity with 20 features of three views, and the flights'
service, seven entities and every feature its seventeen views store, on the real repo. Ours: the read
plan over LMDB and Redis, values, per-view times and status included. The peers:
``FeatureStore.get_online_features`` over Feast's own Redis and SQLite stores, filled by Feast's own
engine. All must give the same values. CPU is that of one read, in seconds; what Redis' own process
used stands apart.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.read_plan import ReadPlan
from tests.benchmarks.contenders import cpu_seconds, measure
from tests.benchmarks.online_repos import SERVICES, lay_out, open_feast, question_rows
from tests.benchmarks.table import Line, record
from tests.stores.packed.redis_server import RedisServer

SIZES = (1, 100, 1_000)
QUESTIONS = 16
PEERS = ("Feast, Redis", "Feast, SQLite")
CONTENDERS = ("ours, LMDB", "ours, Redis", *PEERS)
PEER = "Feast, Redis"


def main() -> int:
    """Fill every store, ask each contender, and record what a read needed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(SERVICES), help="one of the two questions")
    only = parser.parse_args().only
    for work in [only] if only else SERVICES:
        with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
            lay_out(work, Path(folder), server, CONTENDERS)
            record(compare(work, Path(folder), server))
    return 0


def compare(work: str, folder: Path, server: RedisServer) -> list[Line]:
    """Measure each contender in a process of its own, and check that their values are equal."""
    lines: list[Line] = []
    values: pa.Table | None = None
    for who in CONTENDERS:
        saved = folder / "answers.parquet"
        asked = {"work": work, "folder": str(folder), "who": who, "server": server.pid}
        cost = measure("tests.benchmarks.online_read:reading", repeat=0, save=saved, **asked)
        found = pq.read_table(saved)
        costs = json.loads(found.schema.metadata[b"costs"])
        found = found.replace_schema_metadata(None)
        values = found if values is None else values
        if not found.equals(values):
            raise SystemExit(f"{who} answers other values than the first contender")
        for size, (cpu, server_cpu) in costs.items():
            lines.append(line(work, size, who, cpu, cost.peak_mb))
            if "Redis" in who:
                lines.append(line(work, size, f"{who}: redis-server itself", server_cpu, None))
    peer = {row["size"]: row["cpu_seconds"] for row in lines if row["who"] == PEER}
    for row in lines:
        row["ratio"] = None if "itself" in row["who"] else peer[row["size"]] / row["cpu_seconds"]
    return sorted(lines, key=lambda row: int(row["size"].split()[0]))


def line(work: str, size: str, who: str, cpu: float, peak: float | None) -> Line:
    named = {"work": f"online read, {work}", "size": f"{size} rows", "who": who}
    return {**named, "cpu_seconds": cpu, "peak_mb": peak, "ratio": None}


def reading(work: str, folder: str, who: str, server: int) -> Callable[[], pa.Table]:
    """Return the call that reads every size many times; its costs are in its answer's metadata."""
    asked = question_rows(work, Path(folder))
    calls, values = (_ours if who.startswith("ours") else _feasts)(work, Path(folder), who)
    process = psutil.Process(server)

    def call() -> pa.Table:
        costs = {
            size: _cost(lambda q, size=size: calls(q, size), list(_questions(asked, size)), size, process)
            for size in SIZES
        }
        answers = values({name: column[: SIZES[-1]] for name, column in asked.items()})
        table = pa.table({name: answers[name] for name in sorted(answers)})
        return table.replace_schema_metadata({"costs": json.dumps(costs)})

    return call


def _questions(asked: Mapping[str, list[object]], size: int) -> Iterator[Mapping[str, Any]]:
    rows = len(next(iter(asked.values())))
    for number in range(QUESTIONS):
        first = number * 977 % (rows - size + 1)
        some = {name: column[first : first + size] for name, column in asked.items()}
        yield {name: column[0] for name, column in some.items()} if size == 1 else some


def _cost(
    read: Callable[[Any], object], questions: list[Any], size: int, server: psutil.Process
) -> tuple[float, float]:
    """CPU seconds of one read, the best of five turns, and those of Redis' own process."""
    read(questions[0])  # The first read connects, and learns the schemas.
    start = cpu_seconds()
    read(questions[0])
    times = max(3, min(4_000, int(0.3 / max(1e-6, cpu_seconds() - start))))
    best, turns = float("inf"), 5
    before = server.cpu_times()
    ask = cycle(questions)
    for _ in range(turns):
        start = cpu_seconds()
        for _ in range(times):
            read(next(ask))
        best = min(best, (cpu_seconds() - start) / times)
    after = server.cpu_times()
    busy = after.user + after.system - before.user - before.system
    return best, busy / (turns * times)


def _ours(work: str, folder: Path, who: str) -> tuple[Callable[[Any, int], object], Callable[..., Any]]:
    from knownat.stores.online_address import open_rows, read_address
    from knownat.stores.packed_read import PackedReader

    service = SERVICES[work]
    address = read_address(folder / who.replace(" ", "_"))
    assert address is not None
    plan = ReadPlan.model_validate_json((folder / "plan.json").read_text())
    categories = json.loads((folder / "categories.json").read_text())
    reader = PackedReader(open_rows(address), plan, categories=categories)

    def call(question: Any, size: int) -> object:
        if size == 1:
            return reader.read_one(question, service.now_us)
        return reader.read_matrix(question, service.now_us)

    def values(asked: Mapping[str, list[object]]) -> Mapping[str, Any]:
        matrix = reader.read_matrix(asked, service.now_us).values
        found = reader.read(asked, service.now_us).values
        for column, name in enumerate(reader.columns):
            _check_matrix(matrix[:, column], found[name], categories.get(name))
        return found

    return call, values


def _check_matrix(column: np.ndarray, values: list[Any], categories: list[str] | None) -> None:
    codes = {text: float(code) for code, text in enumerate(categories or ())}
    numbers = [np.nan if v is None else codes.get(v, np.nan) if categories else float(v) for v in values]
    np.testing.assert_array_equal(column, np.array(numbers))


def _feasts(work: str, folder: Path, who: str) -> tuple[Callable[[Any, int], object], Callable[..., Any]]:
    plan = ReadPlan.model_validate_json((folder / "plan.json").read_text())
    store = open_feast(work, folder / who.replace(" ", "_"))
    references = [f"{view.name}:{feature.name}" for view in plan.views for feature in view.features]

    def ask(rows: list[dict[str, object]]) -> Any:
        return store.get_online_features(references, rows, full_feature_names=True).to_dict(
            include_event_timestamps=True
        )

    def rows_of(asked: Mapping[str, Any]) -> list[dict[str, object]]:
        return [dict(zip(asked, row, strict=True)) for row in zip(*asked.values(), strict=True)]

    def call(question: Any, size: int) -> object:
        return ask([dict(question)] if size == 1 else rows_of(question))

    def values(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        found = ask(rows_of(asked))
        return {view.column(f.name): found[view.column(f.name)] for view in plan.views for f in view.features}

    return call, values


if __name__ == "__main__":
    sys.exit(main())
