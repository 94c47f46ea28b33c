"""A real release over the shop's repo: a booster of a few trees, trained on the shop's own history."""

from datetime import UTC, datetime
from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.release import (
    BASELINE,
    GOLDEN,
    MODEL,
    PLAN,
    Deployed,
    Deployment,
    ModelDeployment,
    publish_release,
    stage_release,
    write_deployment,
)
from knownat.contract.schema import Column, FeatureSchema
from knownat.contract.workspace import Workspace
from knownat.scoring.booster import Booster
from knownat.scoring.transforms import load_transform, run_transform
from knownat.stores.history import replay_frame
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import open_repo
from tests.stores import shop

SCHEMA = FeatureSchema(
    columns=(
        Column(name="customer_orders__order_value_eur_30d", dtype="float64"),
        Column(name="customer_orders__last_channel", dtype="category", categories=("shop", "web")),
        Column(name="region_sales__sales_y", dtype="int64"),
        Column(name="order_age__order_age_s", dtype="float64"),
    )
)
MODEL_NAME = "churn"


def release_shop(repo: Path, version: str, **serving: object) -> None:
    """Train a small booster on the shop's questions, release it, and deploy it as the champion."""
    workspace, examples = Workspace.at(repo), shop.examples()
    plan, files = compile_read_plan(open_repo(repo), "churn", question_time_input="question_us")
    frame = replay_frame(open_repo(repo), examples, plan, known_at="event_timestamp")
    columns = {name: frame[name].to_pylist() for name in frame.column_names}
    for transform in plan.transforms:
        columns |= run_transform(load_transform(transform, files[transform.file]), columns)
    matrix = SCHEMA.matrix(columns)
    label = np.random.default_rng(int(version)).random(len(matrix)) + np.nan_to_num(matrix[:, 0]) / 50
    text = lightgbm.train(
        {
            "objective": "regression",
            "num_leaves": 7,
            "min_data_in_leaf": 5,
            "verbosity": -1,
            "num_threads": 1,
        },
        lightgbm.Dataset(matrix, label),
        num_boost_round=20,
    ).model_to_string()
    golden = {n: v for n, v in columns.items() if "__status" not in n and "_timestamp" not in n}
    golden |= {"score": Booster.from_bytes(text.encode()).predict(matrix).tolist()}
    with stage_release(workspace.releases / MODEL_NAME / version) as staged:
        (staged / MODEL).write_text(text)
        (staged / PLAN).write_text(plan.model_dump_json())
        for name, source in files.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_text(source)
        pq.write_table(pa.table(golden).slice(0, 50), staged / GOLDEN)
        pq.write_table(pa.table(golden), staged / BASELINE)
        released = publish_release(
            staged, workspace.releases / MODEL_NAME / version, _manifest(version, serving)
        )
    champion = Deployed(version=version, digest=released.digest)
    deployment = Deployment(models={MODEL_NAME: ModelDeployment(champion=champion)})
    write_deployment(workspace.deployment, deployment)


def _manifest(version: str, serving: dict[str, object]) -> dict[str, object]:
    moment = datetime(2024, 4, 4, tzinfo=UTC)
    spec = {
        "name": MODEL_NAME,
        "description": "How much a customer will be missed.",
        "owner": "shop@example.org",
        "runbook": "docs/churn.md",
        "task": "regression",
        "feature_service": "churn",
        "examples": {
            "sql": "churn.sql",
            "keys": {"customer_id": "int64", "home_region": "string"},
            "inputs": {"question_us": "int64"},
            "question_time_input": "question_us",
        },
        "time": {"cutoff": moment, "validation_days": 1, "gap_hours": 1, "test_days": 1},
        "metric": "mae",
        "serving": serving,
    }
    return {
        "model": MODEL_NAME, "version": version, "spec": spec, "feature_schema": SCHEMA,
        "training_start": moment, "training_end": moment, "cutoff": moment, "training_rows": 300,
        "best_iteration": 20, "threads": 1, "code_commit": "", "lock_digest": "",
        "lightgbm_version": lightgbm.__version__, "created_at": moment,
        "metrics": {}, "baselines": {}, "slices": {}, "gates": (),
    }  # fmt: skip
