"""The repos that online reads are measured on: a small one of one entity, and the flights'.

Each contender has a copy with its own online store. Ours is filled by our engine, Feast's by Feast's.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from knownat.clock import to_us
from knownat.contract.read_plan import PlanView, ReadPlan
from tests.benchmarks.contenders import measure
from tests.stores.packed.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
CUSTOMERS, WIDTHS = 10_000, {"orders": 7, "visits": 7, "returns": 6}
ALIVE_US = 10 * 365 * 86_400_000_000
"""A ttl that is checked, and kept by every row: Feast's own stores would serve what is expired."""

FEASTS_OWN = {"offline_store": {"type": "dask"}, "batch_engine": {"type": "local"}}
OURS = {
    "offline_store": {"type": "knownat.stores.offline.AsOfOfflineStore"},
    "batch_engine": {"type": "knownat.stores.compute.VisibleComputeEngine"},
}


@dataclass(frozen=True)
class Service:
    """A question that is measured: when it is asked, and what lays its repo out."""

    now_us: int
    write: Callable[[Path], None]
    last: datetime


def lay_out(work: str, folder: Path, server: RedisServer, contenders: Sequence[str]) -> None:
    """Write the tables once, and for each contender a repo, applied and materialized."""
    SERVICES[work].write(folder / "template")
    fill_copies(work, folder, server, contenders)


def fill_copies(work: str, folder: Path, server: RedisServer, contenders: Sequence[str]) -> None:
    """Give each contender a copy of the template, applied and materialized into a store of its own."""
    for who in contenders:
        path = shutil.copytree(folder / "template", folder / who.replace(" ", "_"))
        settings = yaml.safe_load((path / "feature_store.yaml").read_text())
        settings |= OURS if who.startswith("ours") else FEASTS_OWN
        settings["online_store"] = online_store(who, server)
        (path / "feature_store.yaml").write_text(yaml.safe_dump(settings))
        asked = {"work": work, "path": str(path), "folder": str(folder)}
        measure("tests.benchmarks.online_repos:filling", repeat=0, **asked)


def online_store(who: str, server: RedisServer) -> Mapping[str, object]:
    """Name the store a contender reads."""
    at = f"127.0.0.1:{server.port}"
    patient = {"socket_seconds": 10, "read_deadline_seconds": 10}
    return {
        "ours, LMDB": {"type": "knownat.stores.lmdb_online.LmdbOnlineStore", "path": "data/rows"},
        "ours, Redis": {
            "type": "knownat.stores.redis_online.RedisOnlineStore",
            "connection_string": f"{at},db=1",
            **patient,
        },
        "Feast, Redis": {"type": "redis", "connection_string": f"{at},db=2"},
        "Feast, SQLite": {"type": "sqlite", "path": "data/online.db"},
    }[who]


def filling(work: str, path: str, folder: str) -> Callable[[], None]:
    """Return the call that applies and materializes a repo, and writes the plan and the questions."""
    from knownat.stores.repo import apply_repo, open_repo

    def call() -> None:
        apply_repo(Path(path))
        repo = open_repo(Path(path))
        repo.store.materialize(datetime(2000, 1, 1, tzinfo=UTC), SERVICES[work].last)
        if not (Path(folder) / "plan.json").exists():
            _write_plan(work, Path(folder), repo)

    return call


def open_feast(work: str, path: Path) -> Any:
    """Open a repo as Feast's users do."""
    from knownat.stores.repo import open_repo

    del work
    return open_repo(path).store


def question_rows(work: str, folder: Path) -> dict[str, list[Any]]:
    """Read the rows that are asked about, a column for each key."""
    del work
    columns: dict[str, list[Any]] = json.loads((folder / "questions.json").read_text())
    return columns


def _write_plan(work: str, folder: Path, repo: Any) -> None:
    from knownat.stores.plan import compile_read_plan

    if work == ONE_ENTITY:
        plan, _ = compile_read_plan(repo, "bench")
        random = np.random.default_rng(0)
        questions = {"customer": random.integers(0, CUSTOMERS, 4_000).tolist()}
    else:
        plan, _ = compile_read_plan(repo, "late_arrival")
        questions = _flight_questions(repo, plan)
    kept = plan.model_copy(update={"views": tuple(map(_long_lived, plan.views)), "transforms": ()})
    (folder / "plan.json").write_text(kept.model_dump_json())
    (folder / "questions.json").write_text(json.dumps(questions))
    (folder / "categories.json").write_text(json.dumps(_categories(repo, plan)))


def _long_lived(view: PlanView) -> PlanView:
    return view.model_copy(update={"ttl_us": ALIVE_US})


def _flight_questions(repo: Any, plan: ReadPlan) -> dict[str, list[Any]]:
    from knownat.contract.model_spec import read_spec
    from knownat.contract.workspace import Workspace
    from training.examples import read_examples

    workspace = Workspace.at(repo.path)
    examples = read_examples(workspace, read_spec(workspace.model_file("late_arrival")))
    # A key that is null, a cancelled flight's aircraft, is an error to Feast and no answer.
    asked = examples.sort_by("event_timestamp").select(list(plan.request_keys)).drop_null()
    last = asked.slice(asked.num_rows - 8_000)
    return {name: last[name].to_pylist() for name in plan.request_keys}


def _categories(repo: Any, plan: ReadPlan) -> dict[str, list[str]]:
    from knownat.stores.sources import feature_table

    found = {}
    for view in plan.views:
        texts = [f.name for f in view.features if f.dtype in ("string", "large_string")]
        table = feature_table(repo.store.get_feature_view(view.stored_view), repo.store.config)
        for name in texts:
            found[view.column(name)] = table.rows.select(name).collect()[name].drop_nulls().unique().to_list()
    return found


def write_customers(path: Path, customers: int = CUSTOMERS) -> None:
    """Lay out a repo of one entity: so many customers, three views of random numbers."""
    (path / "data").mkdir(parents=True)
    random = np.random.default_rng(1)
    when = datetime(2024, 1, 1, tzinfo=UTC)
    times = pa.array([when + timedelta(seconds=i) for i in range(customers)], pa.timestamp("us", tz="UTC"))
    lines = ["from datetime import timedelta", "from feast import Entity, FeatureService, FeatureView, Field"]
    lines += ["from feast import FileSource, ValueType", "from feast.types import Float64"]
    lines += ["customer = Entity(name='customer', join_keys=['customer'], value_type=ValueType.INT64)"]
    for view, width in WIDTHS.items():
        names = [f"{view}_{i}" for i in range(width)]
        columns = {name: pa.array(random.random(customers)) for name in names}
        keys = {
            "customer": pa.array(np.arange(customers)),
            "event_timestamp": times,
            "created_timestamp": times,
        }
        pq.write_table(pa.table({**keys, **columns}), path / "data" / f"{view}.parquet")
        schema = ", ".join(f"Field(name='{name}', dtype=Float64)" for name in names)
        source = (
            f"FileSource(name='{view}', path='data/{view}.parquet', timestamp_field='event_timestamp', "
            "created_timestamp_column='created_timestamp')"
        )
        lines.append(f"{view}_source = {source}")
        lines.append(
            f"{view} = FeatureView(name='{view}', entities=[customer], ttl=timedelta(days=9000), "
            f"schema=[{schema}], source={view}_source)"
        )
    lines.append(f"bench = FeatureService(name='bench', features=[{', '.join(WIDTHS)}])")
    (path / "shop.py").write_text("\n".join(lines) + "\n")
    settings = {
        "project": "bench",
        "provider": "local",
        "registry": {"registry_type": "sql", "path": "sqlite:///data/registry.db"},
        "entity_key_serialization_version": 3,
    }
    (path / "feature_store.yaml").write_text(yaml.safe_dump(settings))


def _write_flights(path: Path) -> None:
    from knownat.stores.pipelines import build_features

    shutil.copytree(ROOT / "feature_repo", path, ignore=shutil.ignore_patterns("data", "__pycache__"))
    built = ROOT / "build" / "demo" / "feature_repo" / "data"
    if built.is_dir():
        # The tables of the demo, kept as long as nothing that makes them changed.
        ignored = shutil.ignore_patterns("registry*", "online*", "*.lock")
        shutil.copytree(built, path / "data", ignore=ignored)
    build_features(path)


ONE_ENTITY, FLIGHTS = "one entity, 20 features of 3 views", "the flights' service, 7 entities, 17 views"
SERVICES = {
    ONE_ENTITY: Service(
        to_us(datetime(2024, 7, 1, tzinfo=UTC)), write_customers, datetime(2024, 6, 1, tzinfo=UTC)
    ),
    # Every row of the year is visible by then.
    FLIGHTS: Service(
        to_us(datetime(2014, 7, 1, tzinfo=UTC)), _write_flights, datetime(2014, 6, 1, tzinfo=UTC)
    ),
}
