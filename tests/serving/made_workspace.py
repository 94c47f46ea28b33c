"""A workspace made without Feast: packed rows of three views, and releases of a 20-feature model.

``knownat serve --repo FOLDER/repo`` serves it. The model is LightGBM's, trained on the made rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.model_spec import ModelSpec
from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan
from knownat.contract.release import (
    Deployed,
    Deployment,
    ModelDeployment,
    Release,
    publish_release,
    stage_release,
    write_deployment,
)
from knownat.contract.schema import Column, FeatureSchema
from knownat.contract.workspace import Workspace
from knownat.scoring.booster import Booster
from knownat.stores.codec import RowSchema
from knownat.stores.packed_write import write_table
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowStore

MODEL = "basket"
NOW_US = 1_704_067_200_000_000  # 2024-01-01
NOW = datetime(2024, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
CUSTOMERS = 1_000

WIDTHS = {"orders": 7, "visits": 7, "returns": 6}
PLAN = ReadPlan(
    project="shop",
    feature_service="basket",
    views=tuple(
        PlanView(
            name=view,
            keys=(PlanKey(view_key="customer", request_key="customer", dtype="int64"),),
            ttl_us=DAY_US,
            features=tuple(PlanFeature(name=f"f{i:03}", dtype="float64") for i in range(width)),
        )
        for view, width in WIDTHS.items()
    ),
    output_columns=tuple(f"{view}__f{i:03}" for view, width in WIDTHS.items() for i in range(width)),
)
SCHEMA = FeatureSchema(columns=tuple(Column(name=name, dtype="float64") for name in PLAN.output_columns))
_SETTINGS = """\
project: shop
provider: local
registry: {registry_type: sql, path: sqlite:///data/registry.db}
offline_store: {type: duckdb}
online_store:
  type: knownat.stores.lmdb_online.LmdbOnlineStore
  path: data/online_rows
"""


@dataclass(frozen=True)
class MadeWorkspace:
    """The workspace and the values that its rows hold, by customer."""

    workspace: Workspace
    values: np.ndarray


def make_workspace(folder: Path, *, settings: str = _SETTINGS, **spec: object) -> MadeWorkspace:
    """Lay out settings, releases ``1`` and its deployment; :func:`fill` writes the rows."""
    repo = folder / "repo"
    (repo / "data").mkdir(parents=True)
    (repo / "feature_store.yaml").write_text(settings)
    made = MadeWorkspace(Workspace.at(repo), np.random.default_rng(1).random((CUSTOMERS, 20)))
    deploy(made, champion=release(made, "1", **spec))
    return made


def fill(made: MadeWorkspace, store: RowStore, *, at_us: int = NOW_US) -> None:
    """Write every customer's rows, an hour old."""
    times = pa.array(np.full(CUSTOMERS, at_us - DAY_US // 24), pa.timestamp("us", tz="UTC"))
    first = 0
    for view, width in WIDTHS.items():
        names = [f"f{i:03}" for i in range(width)]
        columns = {name: pa.array(made.values[:, first + i]) for i, name in enumerate(names)}
        keys = {"customer": pa.array(np.arange(CUSTOMERS))}
        table = pa.table({**keys, **columns, "event_timestamp": times, "created_timestamp": times})
        schema = RowSchema.of(keys={"customer": "int64"}, features=dict.fromkeys(names, "float64"))
        write_table(store, ViewName("shop", view), schema, table, now_us=at_us)
        store.set_watermark(ViewName("shop", view), at_us)
        first += width


def release(
    made: MadeWorkspace, version: str, *, trees: int = 20, leaves: int = 15, **spec: object
) -> Release:
    """Train and publish a version; each has scores of its own."""
    text = _train(made.values, seed=sum(version.encode()), trees=trees, leaves=leaves)
    golden = {name: made.values[:50, i].tolist() for i, name in enumerate(PLAN.output_columns)}
    golden["score"] = Booster.from_bytes(text).predict(made.values[:50]).tolist()
    folder = made.workspace.releases / MODEL / version
    with stage_release(folder) as staged:
        (staged / "model.txt").write_bytes(text)
        (staged / "read_plan.json").write_text(PLAN.model_dump_json())
        pq.write_table(pa.table(golden), staged / "golden.parquet")
        return publish_release(staged, folder, manifest_of(version, spec))


def deployed(release: Release) -> Deployed:
    return Deployed(version=release.manifest.version, digest=release.digest)


def deploy(made: MadeWorkspace, *, champion: Release, **others: object) -> None:
    serving = ModelDeployment(champion=deployed(champion), **others)
    write_deployment(made.workspace.deployment, Deployment(models={MODEL: serving}))


def expected(made: MadeWorkspace, release: Release, customers: Sequence[int]) -> list[float]:
    """What a version must answer, by LightGBM's package and the values themselves."""
    import lightgbm

    booster = lightgbm.Booster(model_str=(release.path / "model.txt").read_text())
    return np.asarray(booster.predict(made.values[list(customers)], num_threads=1)).tolist()


def _train(values: np.ndarray, *, seed: int, trees: int, leaves: int) -> bytes:
    # Imported here: a process that only serves what was made need not wait for it.
    import lightgbm

    dice = np.random.default_rng(seed)
    matrix = dice.random((20_000 if trees > 100 else 2_000, values.shape[1]))
    chance = 1 / (1 + np.exp(-4 * (matrix[:, 0] + matrix[:, 1] * matrix[:, 2] - matrix[:, 7] - 0.2)))
    data = lightgbm.Dataset(matrix, (dice.random(len(matrix)) < chance).astype(float))
    params = {"objective": "binary", "num_leaves": leaves, "num_threads": 1, "verbosity": -1, "seed": seed}
    return lightgbm.train(params, data, trees).model_to_string().encode()


def manifest_of(version: str, spec: Mapping[str, object]) -> dict[str, object]:
    return {
        "model": MODEL, "version": version, "spec": _spec(spec), "feature_schema": SCHEMA,
        "training_start": NOW, "training_end": NOW, "cutoff": NOW, "training_rows": 2_000,
        "best_iteration": 20, "threads": 1, "code_commit": "", "lock_digest": "",
        "lightgbm_version": "4.7.0", "created_at": NOW,
        "metrics": {}, "baselines": {}, "slices": {}, "gates": (),
    }  # fmt: skip


# No test of something else fails because the machine is busy.
_PATIENT = {"deadline_ms": 60_000}


def _spec(changes: Mapping[str, Any]) -> ModelSpec:
    serving = {**_PATIENT, **changes.get("serving", {})}
    return ModelSpec.model_validate(
        {
            "name": MODEL,
            "description": "Will this customer buy again?",
            "owner": "shop@example.org",
            "runbook": "docs/basket.md",
            "task": "binary",
            "feature_service": "basket",
            "metric": "auc",
            "examples": {"sql": "basket.sql", "keys": {"customer": "int64"}},
            "time": {"cutoff": NOW, "validation_days": 7, "gap_hours": 24, "test_days": 14},
            **changes,
            "serving": serving,
        }
    )
