"""A release of a parcel model, made without a feature repo: three stored values, one made on demand."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.model_spec import ModelSpec
from knownat.contract.read_plan import PlanFeature, PlanKey, PlanTransform, PlanView, ReadPlan
from knownat.contract.release import Interval, Release, publish_release, stage_release
from knownat.contract.schema import Column, FeatureSchema
from knownat.scoring.booster import Booster

CUTOFF = datetime(2024, 3, 1, tzinfo=UTC)
PLAN = ReadPlan(
    project="parcels",
    feature_service="late_parcel",
    views=(
        PlanView(
            name="depot",
            keys=(PlanKey(view_key="depot_id", request_key="depot_id", dtype="int64"),),
            ttl_us=0,
            features=(
                PlanFeature(name="parcels_count_1d", dtype="int64"),
                PlanFeature(name="delay_mean_min_1d", dtype="float64"),
                PlanFeature(name="region", dtype="string"),
            ),
        ),
    ),
    transforms=(
        PlanTransform(
            name="load",
            file="transforms/load.py",
            function="load",
            inputs={"parcels_count_1d": "depot__parcels_count_1d", "weight_kg": "weight_kg"},
            outputs=(PlanFeature(name="kg_per_parcel", dtype="float64"),),
        ),
    ),
    request_inputs=(PlanFeature(name="weight_kg", dtype="float64"),),
    output_columns=(
        "depot__parcels_count_1d",
        "depot__delay_mean_min_1d",
        "depot__region",
        "load__kg_per_parcel",
    ),
)
SOURCE = """
def load(inputs):
    pairs = zip(inputs["weight_kg"], inputs["parcels_count_1d"], strict=True)
    return {"kg_per_parcel": [kg / n if n else None for kg, n in pairs]}
"""
SCHEMA = FeatureSchema(
    columns=(
        Column(name="depot__parcels_count_1d", dtype="int64"),
        Column(name="depot__delay_mean_min_1d", dtype="float64"),
        Column(name="depot__region", dtype="category", categories=("north", "south")),
        Column(name="load__kg_per_parcel", dtype="float64"),
    )
)


def make_spec(**changes: object) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "name": "late_parcel",
            "description": "Will this parcel be late?",
            "owner": "parcels@example.org",
            "runbook": "docs/late_parcel.md",
            "task": "binary",
            "feature_service": "late_parcel",
            "metric": "auc",
            "examples": {
                "sql": "late_parcel.sql",
                "keys": {"depot_id": "int64"},
                "inputs": {"weight_kg": "float64"},
            },
            "time": {"cutoff": CUTOFF, "validation_days": 7, "gap_hours": 24, "test_days": 14},
            **changes,
        }
    )


def stored_rows(rows: int) -> dict[str, list[object]]:
    dice = np.random.default_rng(3)
    counts = dice.integers(0, 50, rows).tolist()
    return {
        "depot__parcels_count_1d": [None if i % 11 == 5 else n for i, n in enumerate(counts)],
        "depot__delay_mean_min_1d": [None if i % 7 == 3 else float(i % 60) for i in range(rows)],
        "depot__region": [("north", "south", None)[i % 3] for i in range(rows)],
    }


def golden_table(rows: int = 60) -> pa.Table:
    stored = stored_rows(rows)
    weights = [float(i % 13) for i in range(rows)]
    made = [kg / n if n else None for kg, n in zip(weights, stored["depot__parcels_count_1d"], strict=True)]
    return pa.table({**stored, "weight_kg": weights, "load__kg_per_parcel": made})


def model_text(*, opposite: bool = False, classes: int = 0) -> bytes:
    # Imported here, as the processes that only publish need not wait for it.
    import lightgbm

    table = golden_table(400)
    matrix = SCHEMA.matrix(table)
    labels = (np.nan_to_num(matrix[:, 1]) + 20 * (matrix[:, 2] == 1) > 35) != opposite
    data = lightgbm.Dataset(
        matrix, labels.astype(float), feature_name=list(SCHEMA.names), categorical_feature=[2]
    )
    params = {"objective": "binary", "num_threads": 1, "verbosity": -1, "min_data_in_leaf": 5}
    if classes:
        params |= {"objective": "multiclass", "num_class": classes}
        data.set_label(np.arange(len(matrix)) % (classes - 1) + labels)
    return lightgbm.train(params, data, 20).model_to_string().encode()


def manifest(version: str = "1", **changes: object) -> dict[str, object]:
    return {
        "model": "late_parcel",
        "version": version,
        "spec": make_spec(),
        "feature_schema": SCHEMA,
        "training_start": datetime(2024, 1, 1, tzinfo=UTC),
        "training_end": CUTOFF,
        "cutoff": CUTOFF,
        "training_rows": 400,
        "best_iteration": 20,
        "threads": 1,
        "code_commit": "unknown",
        "lock_digest": "unknown",
        "lightgbm_version": "4.7.0",
        "created_at": CUTOFF,
        "metrics": {"auc": Interval(value=0.8, low=0.7, high=0.9, rows=60)},
        "baselines": {},
        "slices": {},
        "gates": (),
        **changes,
    }


def publish_small(
    folder: Path,
    version: str = "1",
    *,
    damage: Callable[[bytes], bytes] = lambda model: model,
    files: Mapping[str, str | bytes] | None = None,
    score_error: float = 0.0,
    golden_rows: int = 60,
    opposite: bool = False,
    classes: int = 0,
    **changes: object,
) -> Release:
    """Publish a release; ``damage`` and ``files`` change it before its manifest is written."""
    model, golden = model_text(opposite=opposite, classes=classes), golden_table(golden_rows)
    scores = Booster.from_bytes(model).predict(SCHEMA.matrix(golden))
    golden = golden.append_column("score", pa.array((scores + score_error).tolist()))
    plan = PLAN.model_copy(update={"classes": classes})
    if classes:
        changes = {"spec": make_spec(task="multiclass", metric="log_loss"), **changes}
    with stage_release(folder / "late_parcel" / version) as staged:
        (staged / "transforms").mkdir()
        (staged / "model.txt").write_bytes(damage(model))
        (staged / "read_plan.json").write_text(plan.model_dump_json())
        pq.write_table(golden, staged / "golden.parquet")
        for name, text in {"transforms/load.py": SOURCE, **(files or {})}.items():
            (staged / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return publish_release(staged, folder / "late_parcel" / version, manifest(version, **changes))
