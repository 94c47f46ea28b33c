"""Small questions with known answers: every task's declaration, examples and dataset, without a repo."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from knownat.contract.model_spec import ModelSpec
from training.dataset import Dataset, lay_out
from training.split import split_by_time

MOMENT = pa.timestamp("us", tz="UTC")
START = datetime(2024, 1, 1, tzinfo=UTC)
CUTOFF = START + timedelta(days=60)
COLUMNS = ("depot__load", "depot__delay", "parcel__kind", "parcel__weight", "depot__open")

METRIC = {"binary": "auc", "regression": "mae", "multiclass": "log_loss", "quantile": "pinball"}
BASELINES = {
    "binary": ["prior", "static", "logistic"],
    "regression": ["prior", "median", "static"],
    "multiclass": ["prior", "static", "logistic"],
    "quantile": ["prior", "median", "static"],
}


def make_spec(task: str = "binary", **changes: object) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "name": "late_parcel",
            "description": "Will this parcel be late?",
            "owner": "parcels@example.org",
            "runbook": "docs/late_parcel.md",
            "task": task,
            "feature_service": "late_parcel",
            "metric": METRIC[task],
            "static_columns": ["parcel"],
            "baselines": BASELINES[task],
            "examples": {"sql": "late_parcel.sql", "keys": {"parcel_id": "int64"}},
            "time": {"cutoff": CUTOFF, "validation_days": 10, "gap_hours": 12, "test_days": 20},
            "lightgbm": {"num_boost_round": 40, "early_stopping_rounds": 10, "params": {"num_leaves": 7}},
            **({"quantile": 0.8} if task == "quantile" else {}),
            **changes,
        }
    )


def make_frame(task: str = "binary", rows: int = 3_000) -> pa.Table:
    """Questions over 80 days whose answers follow from the columns, but for some noise."""
    dice = np.random.default_rng(5)
    load, delay, weight, noise = dice.normal(size=(4, rows))
    kind = dice.integers(0, 3, rows)
    pull = load + delay + 1.5 * (kind == 2) + 0.5 * weight + noise
    labels = {"binary": (pull > 1).astype(float), "multiclass": np.digitize(pull, [-0.5, 1.5]).astype(float)}
    hours = np.sort(dice.uniform(0, 80 * 24, rows))
    asked = [START + timedelta(hours=float(h)) for h in hours]
    known = [
        when + timedelta(hours=float(w)) for when, w in zip(asked, dice.uniform(1, 10, rows), strict=True)
    ]
    return pa.table(
        {
            "parcel_id": pa.array(range(rows), pa.int64()),
            "event_timestamp": pa.array(asked, MOMENT),
            "label": pa.array(labels.get(task, pull)),
            "label_timestamp": pa.array(known, MOMENT),
            "depot__load": pa.array(np.where(dice.random(rows) < 0.1, np.nan, load), from_pandas=True),
            "depot__delay": pa.array(delay),
            "parcel__kind": pa.array([("box", "bag", None)[k] for k in kind]),
            "parcel__weight": pa.array(weight),
            "depot__open": pa.array(dice.random(rows) < 0.5),
        }
    )


def make_dataset(task: str = "binary") -> tuple[ModelSpec, Dataset]:
    spec, frame = make_spec(task), make_frame(task)
    fold = split_by_time(frame, spec)
    return spec, lay_out(frame, COLUMNS, labels=frame["label"].to_numpy(), fold=fold)
