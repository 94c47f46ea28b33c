"""How the as-of join grows, in process and on Spark: ``python -m tests.benchmarks.spark_growth [--size 1M]``.

As many feature rows as examples, one view of three features, ttl and the created cut-off on. Both
engines are asked through Feast's API by the same query for the same Parquet, and must write the
same rows. Spark runs on this machine with two threads; its CPU time and memory are the Java
process's and ours together. Feast's own Spark store is asked where its range join ends in time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psutil

from tests.benchmarks.asof_data import Shape, read_shape, write
from tests.benchmarks.table import Line, record

COUNTS = {"1M": 1_000_000, "3M": 3_000_000, "10M": 10_000_000, "30M": 30_000_000}
IN_PROCESS, ON_SPARK, FEASTS = "knownat, in process", "knownat, on Spark", "Feast's Spark store"
QUERY = "SELECT * FROM examples"
SPARK = {
    "spark.master": "local[2]",
    "spark.driver.memory": "4g",
    "spark.sql.shuffle.partitions": "16",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}
STORES: dict[str, dict[str, Any]] = {
    IN_PROCESS: {"type": "knownat.stores.offline.AsOfOfflineStore"},
    ON_SPARK: {"type": "knownat.stores.spark_offline.SparkAsOfOfflineStore", "spark_conf": SPARK},
    FEASTS: {"type": "spark", "spark_conf": {**SPARK, "spark.sql.session.timeZone": "UTC"}},
}
_SECONDS_FOR_FEASTS = 900


@dataclass(frozen=True)
class Cost:
    """What one retrieval took, the starts of Python and Java left out of the CPU time."""

    cpu_seconds: float
    peak_mb: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=[*COUNTS], action="append")
    parser.add_argument("--keys", choices=["uniform", "zipf", "one"], default="uniform")
    parser.add_argument("--one", nargs=3, metavar=("WHO", "FOLDER", "RESULT"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        who, folder, result = given.one
        sys.stdout.write(json.dumps(asdict(_measure(who, Path(folder), Path(result)))) + "\n")
        return
    for size in given.size or [*COUNTS]:
        compare(size, given.keys)


def compare(size: str, keys: str) -> None:
    """Measure the engines on one size and compare what they wrote."""
    entities = 1 if keys == "one" else 10_000
    shape = Shape(
        examples=COUNTS[size],
        rows=COUNTS[size],
        views=1,
        entities=entities,
        keys="zipf" if keys == "zipf" else "uniform",
    )
    with tempfile.TemporaryDirectory(prefix="knownat-growth-") as folder:
        home = Path(folder)
        write(home, shape)
        costs: dict[str, Cost] = {}
        answers: dict[str, tuple[int, int]] = {}
        for who in STORES:
            if who == FEASTS and (size != "1M" or keys != "uniform"):
                continue
            if (cost := _in_a_child(who, home, home / "result.parquet")) is not None:
                costs[who] = cost
                answers[who] = _fingerprint(home / "result.parquet")
        if len({answers[IN_PROCESS], answers[ON_SPARK]}) != 1:
            raise SystemExit(f"The engines disagree at {size}: {answers}")
        if FEASTS in answers and answers[FEASTS] != answers[IN_PROCESS]:
            raise SystemExit(f"Feast's Spark store disagrees at {size}: {answers}")
    suffix = "" if keys == "uniform" else f", {keys} key" if keys == "one" else f", {keys} keys"
    lines: list[Line] = [
        {
            "work": f"as-of join to Parquet, 1 x 3 features{suffix}",
            "size": size,
            "who": who,
            "cpu_seconds": cost.cpu_seconds,
            "peak_mb": cost.peak_mb,
            "ratio": costs[IN_PROCESS].cpu_seconds / cost.cpu_seconds,
        }
        for who, cost in costs.items()
    ]
    record(lines)


def _in_a_child(who: str, home: Path, result: Path) -> Cost | None:
    command = [sys.executable, "-m", "tests.benchmarks.spark_growth", "--one", who, str(home), str(result)]
    limit = _SECONDS_FOR_FEASTS if who == FEASTS else None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(f"{who} ended with {done.returncode}: {done.stderr[-2_000:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def _measure(who: str, home: Path, result: Path) -> Cost:
    retrieve = _prepare(who, home, result)
    before = _cpu_seconds()
    retrieve()
    return Cost(_cpu_seconds() - before, sum(map(_peak_mb, _processes())))


def _prepare(who: str, home: Path, result: Path) -> Callable[[], object]:
    from feast import Entity, FeatureStore, FeatureView, Field, ValueType
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SavedDatasetSparkStorage
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
    from feast.repo_config import RepoConfig
    from feast.types import Float64, Int64

    shape = read_shape(home)
    config = RepoConfig(
        project="bench",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{home}/{[*STORES].index(who)}.db"},
        online_store=None,
        offline_store=STORES[who],
        entity_key_serialization_version=3,
        repo_path=home,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    names = shape.feature_names("view0")
    view = FeatureView(
        name="view0",
        entities=[entity],
        ttl=timedelta(days=shape.ttl_days),
        schema=[Field(name="entity", dtype=Int64), *(Field(name=n, dtype=Float64) for n in names)],
        source=_source(who, home, "view0", created="created_timestamp"),
        online=False,
    )
    store.apply([entity, view, _source(who, home, "examples", created="")])
    if who != IN_PROCESS:
        _start_spark(home, who)
    job: Any = store.get_historical_features(
        QUERY, [f"view0:{name}" for name in names], filter_by_created_timestamp=True
    )
    if who == FEASTS:
        storage: Any = SavedDatasetSparkStorage(path=str(result), file_format="parquet")
        return lambda: job.persist(storage, allow_overwrite=True)
    return lambda: job.persist(SavedDatasetFileStorage(path=str(result)), allow_overwrite=True)


def _source(who: str, home: Path, name: str, *, created: str) -> Any:
    from feast import FileSource
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    times = {"timestamp_field": "event_timestamp", "created_timestamp_column": created}
    path = str(home / f"{name}.parquet")
    if who == FEASTS:
        return SparkSource(name=name, path=path, file_format="parquet", **times)
    return FileSource(name=name, path=path, **times)


def _start_spark(home: Path, who: str) -> None:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for name, value in STORES[who]["spark_conf"].items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.range(10).count()
    if who == FEASTS:
        session.read.parquet(str(home / "examples.parquet")).createOrReplaceTempView("examples")


def _processes() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _cpu_seconds() -> float:
    # A Java process lives on after the work, so its time is not that of a finished child.
    times = [process.cpu_times() for process in _processes()]
    return float(sum(t.user + t.system for t in times))


def _peak_mb(process: psutil.Process) -> float:
    words = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in words if line.startswith("VmHWM")), 0.0)


def _fingerprint(result: Path) -> tuple[int, int]:
    """Tell how many rows there are and what they hold, whatever their order and files."""
    folder = result / "*.parquet" if result.is_dir() else result
    names = ["entity", "event_timestamp", "label", *(f"view0_f{i}" for i in range(3))]
    # No column says which of two equal questions is which, so rows are counted as a set with repetition.
    rows = pl.read_parquet(folder).select(
        pl.col(n).cast(pl.Datetime("us", "UTC")) if n == "event_timestamp" else pl.col(n) for n in names
    )
    return rows.height, int(rows.hash_rows().cast(pl.Int128).sum())


if __name__ == "__main__":
    main()
