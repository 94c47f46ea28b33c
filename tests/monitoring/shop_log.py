"""A small shop's model, its release and its prediction log, made of numbers with known answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.model_spec import ModelSpec
from knownat.contract.prediction_log import LABEL_SCHEMA, TIMESTAMP, prediction_schema
from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan
from knownat.contract.reference import Reference, write_reference
from knownat.contract.release import (
    Deployed,
    Deployment,
    Interval,
    ModelDeployment,
    Release,
    publish_release,
    stage_release,
    write_deployment,
)
from knownat.contract.schema import Column, FeatureSchema
from knownat.contract.workspace import Workspace
from monitoring.metrics import measurable, measure_all

MODEL, VERSION = "will_return", "v1"
START = datetime(2024, 3, 4, tzinfo=UTC)
END = START + timedelta(days=1)
CITIES = ("Athens", "Bergen", "Cork", "Dijon")

SCHEMA = FeatureSchema(
    columns=(
        Column(name="orders__order_value_eur_30d", dtype="float64"),
        Column(name="orders__order_count_30d", dtype="int64"),
        Column(name="orders__refund_share_30d", dtype="float64"),
        Column(name="orders__is_member", dtype="bool"),
        Column(name="profile__city", dtype="category", categories=CITIES),
        Column(name="profile__age_days", dtype="float64"),
    )
)
_DTYPES = ("float64", "int64", "float64", "bool")
PLAN = ReadPlan(
    project="shop",
    feature_service=MODEL,
    views=(
        PlanView(
            name="orders",
            keys=(PlanKey(view_key="customer_id", request_key="customer_id", dtype="int64"),),
            ttl_us=0,
            features=tuple(
                PlanFeature(name=column.name.partition("__")[2], dtype=dtype)
                for column, dtype in zip(SCHEMA.columns, _DTYPES, strict=False)
            ),
        ),
        PlanView(
            name="profile",
            keys=(PlanKey(view_key="customer_id", request_key="customer_id", dtype="int64"),),
            ttl_us=0,
            features=(
                PlanFeature(name="city", dtype="string"),
                PlanFeature(name="age_days", dtype="float64"),
            ),
        ),
    ),
    output_columns=SCHEMA.names,
)


@dataclass(frozen=True)
class Kind:
    """A task: what the model is fitted for, and what its labels are of the pull towards the shop."""

    task: str
    metric: str
    objective: Mapping[str, object]
    label: Callable[[np.ndarray], np.ndarray]
    classes: int = 0


BINARY = Kind("binary", "auc", {"objective": "binary"}, lambda pull: (pull > 0.3).astype(np.float64))
REGRESSION = Kind("regression", "mae", {"objective": "regression"}, lambda pull: 50 + 20 * pull)
MULTICLASS = Kind(
    "multiclass",
    "log_loss",
    {"objective": "multiclass", "num_class": 3},
    lambda pull: np.digitize(pull, [-0.5, 0.8]).astype(np.float64),
    classes=3,
)


def make_spec(kind: Kind = BINARY, **monitoring: int | float) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "name": MODEL,
            "description": "Will this customer come back within a month?",
            "owner": "growth@example.org",
            "runbook": "docs/how-to/runbook.md",
            "task": kind.task,
            "feature_service": MODEL,
            "examples": {"sql": f"{MODEL}.sql", "keys": {"customer_id": "int64"}},
            "time": {
                "cutoff": datetime(2024, 3, 1, tzinfo=UTC),
                "validation_days": 10,
                "gap_hours": 24,
                "test_days": 30,
            },
            "metric": kind.metric,
            "monitoring": {"label_wait_hours": 48, "min_rows": 200, **monitoring},
        }
    )


def make_features(rows: int, *, seed: int, shift: float = 0.0) -> pa.Table:
    """Draw model columns; ``shift`` moves the first by as many standard deviations."""
    random = np.random.default_rng(seed)
    refunds = np.where(random.random(rows) < 0.7, 0.0, random.random(rows))
    age = np.where(random.random(rows) < 0.1, np.nan, random.exponential(400, rows))
    return pa.table(
        {
            "orders__order_value_eur_30d": 40 + 10 * (random.normal(size=rows) + shift),
            "orders__order_count_30d": random.poisson(30, rows),
            "orders__refund_share_30d": refunds,
            "orders__is_member": random.random(rows) < 0.4,
            "profile__city": random.choice(CITIES, rows, p=[0.4, 0.3, 0.2, 0.1]),
            "profile__age_days": pa.array(age, from_pandas=True),
        }
    )


def make_labels(features: pa.Table, *, seed: int, noise: float = 1.0, kind: Kind = BINARY) -> np.ndarray:
    random = np.random.default_rng(seed)
    value, city = features["orders__order_value_eur_30d"].to_numpy(), features["profile__city"].to_pylist()
    pull = (np.nan_to_num(value, nan=40, posinf=40, neginf=40) - 40) / 10
    pull = pull + np.array([{"Athens": 0.5}.get(c, 0) for c in city]) + noise * random.normal(size=len(value))
    return kind.label(pull)


@dataclass
class Shop:
    """A workspace with one deployed release, whose log a test fills."""

    workspace: Workspace
    release: Release

    def log(self, features: pa.Table, *, name: str = "a", **columns: pa.Array) -> pa.Table:
        """Write predictions for these features, spread evenly over the window."""
        table = self.rows(features, name=name)
        for column, values in columns.items():
            table = table.set_column(table.column_names.index(column), column, values)
        self.write(table, name=name)
        return table

    def rows(self, features: pa.Table, *, name: str = "a") -> pa.Table:
        n = features.num_rows
        step = (END - START) / max(n, 1)
        when = [START + i * step for i in range(n)]
        logged = {name: features[name] for name in features.column_names}
        values = {
            "prediction_id": [f"{MODEL}.{name}{i:06d}" for i in range(n)],
            "request_id": [f"r{i}" for i in range(n)],
            "logged_at": when,
            "event_timestamp": when,
            "model": [MODEL] * n,
            "version": [VERSION] * n,
            "role": ["champion"] * n,
            "key__customer_id": list(range(n)),
            "degraded": [False] * n,
            "latency_us": [150] * n,
            **self._answers(features),
        }
        for view in PLAN.views:
            values[f"served__{view.name}__event_timestamp"] = when
            values[f"served__{view.name}__created_timestamp"] = when
            values[f"served__{view.name}__status"] = ["present"] * n
        schema = prediction_schema(self.release.plan)
        return pa.table(
            {f.name: logged.get(f.name, values.get(f.name)) for f in schema if f.name in {*logged, *values}}
        ).cast(pa.schema([f for f in schema if f.name in {*logged, *values}]))

    def _answers(self, features: pa.Table) -> dict[str, np.ndarray]:
        scores = self.score(features)
        if scores.ndim == 1:
            return {"score": scores}
        shares = {f"class__{at}": scores[:, at] for at in range(scores.shape[1])}
        return {"score": scores.max(axis=1), **shares}

    def score(self, features: pa.Table) -> np.ndarray:
        booster = lightgbm.Booster(model_str=self.release.read_bytes("model.txt").decode())
        lacking = [c for c in SCHEMA.columns if c.name not in features.column_names]
        for column in lacking:
            features = features.append_column(column.name, pa.nulls(features.num_rows))
        if not features.num_rows:
            return np.zeros(0)
        return np.asarray(booster.predict(SCHEMA.matrix(features), num_threads=1))

    def write(self, table: pa.Table, *, name: str = "a", version: str = VERSION) -> None:
        folder = self.workspace.predictions / MODEL / version
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"segment-{name}.parquet")

    def post_labels(self, predictions: pa.Table, labels: np.ndarray, *, after: timedelta) -> None:
        """Post a label for each prediction, so long after its question."""
        when = [moment + after for moment in predictions["event_timestamp"].to_pylist()]
        folder = self.workspace.predictions / "labels"
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.table(
            {
                "prediction_id": predictions["prediction_id"],
                "label": labels,
                "label_timestamp": when,
                "logged_at": when,
            }
        )
        pq.write_table(table.cast(LABEL_SCHEMA), folder / "segment-l.parquet")


def make_shop(
    folder: Path,
    *,
    rows: int = 6_000,
    version: str = VERSION,
    kind: Kind = BINARY,
    **monitoring: int | float,
) -> Shop:
    """Train a real model on generated rows and release it."""
    workspace = Workspace.at(folder / "feature_repo")
    workspace.models.mkdir(parents=True)
    features, held_out = make_features(rows, seed=1), make_features(4_000, seed=3)
    label, held_out_label = (
        make_labels(side, seed=seed, kind=kind) for side, seed in ((features, 2), (held_out, 4))
    )
    booster = fit_shop(features, label, kind=kind)
    score, held_out_score = (
        np.asarray(booster.predict(SCHEMA.matrix(side), num_threads=1)) for side in (features, held_out)
    )
    names = ("auc", "log_loss", "ece") if kind is BINARY else measurable(make_spec(kind).task)
    metrics = measure_all(names, held_out_label, held_out_score)
    release_folder = workspace.releases / MODEL / version
    with stage_release(release_folder) as staged:
        (staged / "model.txt").write_text(booster.model_to_string())
        plan = PLAN.model_copy(update={"classes": kind.classes})
        (staged / "read_plan.json").write_text(plan.model_dump_json())
        first, second = (datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2))
        trained_on = features.append_column("event_timestamp", _spread(first, rows))
        said = held_out_score if held_out_score.ndim == 1 else held_out_score.max(axis=1)
        later = pa.table({"event_timestamp": _spread(second, 4_000), "score": said})
        write_reference(make_reference(trained_on, later), staged)
        for name, side, came, answered, when in (
            ("baseline.parquet", features, label, score, first),
            ("holdout.parquet", held_out, held_out_label, held_out_score, second),
        ):
            judged = side.append_column("label", pa.array(came))
            judged = judged.append_column("score", pa.array(list(answered)))
            pq.write_table(judged.append_column("event_timestamp", _spread(when, len(side))), staged / name)
        release = publish_release(
            staged, release_folder, _manifest(make_spec(kind, **monitoring), metrics, version)
        )
    deployed = Deployed(version=version, digest=release.digest)
    write_deployment(workspace.deployment, Deployment(models={MODEL: ModelDeployment(champion=deployed)}))
    return Shop(workspace, release)


def fit_shop(features: pa.Table, label: np.ndarray, *, kind: Kind = BINARY) -> lightgbm.Booster:
    """Fit the shop's model."""
    return lightgbm.train(
        {**kind.objective, "num_threads": 1, "verbosity": -1, "num_leaves": 7},
        lightgbm.Dataset(SCHEMA.matrix(features), label, categorical_feature=list(SCHEMA.categorical)),
        num_boost_round=20,
    )


def make_reference(rows: pa.Table, scored: pa.Table | None = None) -> Reference:
    """Profile training rows; where they lack them, every view's row was there, minutes old."""
    random = np.random.default_rng(11)
    if "event_timestamp" not in rows.column_names:
        rows = rows.append_column("event_timestamp", _spread(datetime(2024, 1, 1, tzinfo=UTC), rows.num_rows))
    for view in PLAN.views:
        asked = rows["event_timestamp"].to_pylist()
        ages = random.exponential(600, rows.num_rows).tolist()
        when = pa.array([a - timedelta(seconds=s) for a, s in zip(asked, ages, strict=True)], TIMESTAMP)
        served = {"event_timestamp": when, "status": pa.array(["present"] * rows.num_rows)}
        for what, values in served.items():
            name = f"served__{view.name}__{what}"
            if name not in rows.column_names:
                rows = rows.append_column(name, values)
    nothing = pa.table({"event_timestamp": pa.array([], TIMESTAMP), "score": pa.array([], pa.float64())})
    day = timedelta(days=1)
    return Reference.of(rows, nothing if scored is None else scored, schema=SCHEMA, plan=PLAN, step=day)


def _spread(first: datetime, rows: int) -> pa.Array:
    """Spread rows evenly over thirty days."""
    step = timedelta(days=30) / rows
    return pa.array([first + step * i for i in range(rows)], pa.timestamp("us", tz="UTC"))


def _manifest(spec: ModelSpec, metrics: dict[str, Interval], version: str) -> dict[str, object]:
    return {
        "model": MODEL,
        "version": version,
        "spec": spec,
        "feature_schema": SCHEMA,
        "training_start": datetime(2024, 1, 1, tzinfo=UTC),
        "training_end": datetime(2024, 2, 28, tzinfo=UTC),
        "cutoff": datetime(2024, 3, 1, tzinfo=UTC),
        "training_rows": 6_000,
        "best_iteration": 20,
        "threads": 1,
        "code_commit": "0" * 40,
        "lock_digest": "0" * 64,
        "lightgbm_version": lightgbm.__version__,
        "created_at": datetime(2024, 3, 1, tzinfo=UTC),
        "metrics": metrics,
        "baselines": {},
        "slices": {},
        "gates": (),
    }
