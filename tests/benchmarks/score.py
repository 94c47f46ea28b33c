"""What `knownat score` needs for files of growing size: ``python -m tests.benchmarks.score``.

One entity, 20 features of three views over 10 000 customers, each row asked at a time of its own; a model of
20 trees. Memory must not grow with the file: it is bounded by a batch and the feature tables.
"""

import argparse
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.release import (
    Deployed,
    Deployment,
    ModelDeployment,
    publish_release,
    stage_release,
    write_deployment,
)
from knownat.contract.schema import Column, FeatureSchema
from knownat.contract.workspace import Workspace
from tests.benchmarks.contenders import measure
from tests.benchmarks.online_repos import CUSTOMERS, OURS, write_customers
from tests.benchmarks.table import Line, record

MODEL = "basket"
WORK = "score a file, 20 features of 3 views"
SIZES = (250_000, 1_000_000, 4_000_000)
_FIRST = datetime(2024, 1, 2, tzinfo=UTC)
_AT_ONCE = 250_000


def main() -> int:
    """Score files of each size, each in a process of its own, and record what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=SIZES, help="rows of each file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder) / "repo"
        write_customers(repo)
        measure("tests.benchmarks.score:laying_out", repeat=0, path=str(repo))
        for rows in given.rows:
            source = Path(folder) / f"{rows}.parquet"
            write_questions(source, rows)
            needed = measure("tests.benchmarks.score:scoring", repeat=0, path=str(repo), source=str(source))
            line = Line(
                work=WORK, size=f"{rows:,} rows", who="knownat score", cpu_seconds=needed.cold_cpu,
                peak_mb=needed.peak_mb, start_mb=needed.start_mb, ratio=None,
            )  # fmt: skip
            record([line])
    return 0


def write_questions(path: Path, rows: int) -> None:
    """Write a file of questions, some at a time: this process must not be what is large."""
    dice = np.random.default_rng(rows)
    schema = pa.schema([("customer", pa.int64()), ("event_timestamp", pa.timestamp("us", tz="UTC"))])
    first = int(_FIRST.timestamp() * 1e6)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, _AT_ONCE):
            count = min(_AT_ONCE, rows - start)
            times = pa.array(first + np.arange(start, start + count) * 1_000_000).cast(schema.types[1])
            customers = pa.array(dice.integers(0, CUSTOMERS, count))
            writer.write_table(pa.table([customers, times], schema=schema))


def laying_out(path: str) -> Callable[[], None]:
    """Return the call that applies a repo and lets a release of it serve."""
    import lightgbm
    import yaml

    from knownat.scoring.booster import Booster
    from knownat.stores.plan import compile_read_plan
    from knownat.stores.repo import apply_repo, open_repo
    from tests.serving.made_workspace import manifest_of

    def call() -> None:
        repo, workspace = Path(path), Workspace.at(Path(path))
        settings = yaml.safe_load((repo / "feature_store.yaml").read_text())
        store = {"type": "knownat.stores.lmdb_online.LmdbOnlineStore", "path": "data/rows"}
        (repo / "feature_store.yaml").write_text(yaml.safe_dump({**settings, **OURS, "online_store": store}))
        apply_repo(repo)
        plan, _ = compile_read_plan(open_repo(repo), "bench")
        columns = [view.column(f.name) for view in plan.views for f in view.features]
        dice = np.random.default_rng(7)
        matrix = dice.random((2_000, len(columns)))
        data = lightgbm.Dataset(matrix, (matrix[:, 0] + matrix[:, 7] > 1).astype(float))
        params = {"objective": "binary", "num_threads": 1, "verbosity": -1}
        text = lightgbm.train(params, data, 20).model_to_string().encode()
        golden = {name: matrix[:50, i].tolist() for i, name in enumerate(columns)}
        golden["score"] = Booster.from_bytes(text).predict(matrix[:50]).tolist()
        folder = workspace.releases / MODEL / "1"
        schema = FeatureSchema(columns=tuple(Column(name=name, dtype="float64") for name in columns))
        with stage_release(folder) as staged:
            (staged / "model.txt").write_bytes(text)
            (staged / "read_plan.json").write_text(plan.model_dump_json())
            pq.write_table(pa.table(golden), staged / "golden.parquet")
            manifest = {**manifest_of("1", {}), "feature_schema": schema}
            release = publish_release(staged, folder, manifest)
        champion = Deployed(version="1", digest=release.digest)
        deployment = Deployment(models={MODEL: ModelDeployment(champion=champion)})
        write_deployment(workspace.deployment, deployment)

    return call


def scoring(path: str, source: str) -> Callable[[], None]:
    """Return the call that scores a file, as the command does."""
    from serving.batch import score_file
    from serving.features import open_history

    def call() -> None:
        workspace, target = Workspace.at(Path(path)), Path(f"{source}.scored")
        history = open_history(workspace.repo)
        done = score_file(workspace, MODEL, Path(source), target, version=None, history=history)
        scored = pq.ParquetFile(target).metadata.num_rows
        assert done.rows == scored == pq.ParquetFile(source).metadata.num_rows

    return call


if __name__ == "__main__":
    raise SystemExit(main())
