"""A scorer over made-up features: small, exact, and able to fail on demand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
from fastapi import FastAPI
from starlette.applications import Starlette

from knownat.clock import FixedClock, from_us
from knownat.contract.model_spec import ModelSpec
from knownat.contract.prediction_log import prediction_schema
from knownat.contract.read_plan import (
    PlanFeature,
    PlanKey,
    PlanTransform,
    PlanView,
    ReadPlan,
    ReadResult,
    Status,
)
from knownat.contract.release import Deployed, Deployment, ModelDeployment, write_deployment
from knownat.scoring.row_program import ScoredRow
from serving.access import Access
from serving.app import Limits, Parts, create_apps
from serving.health import Drain
from serving.lanes import Lane
from serving.loading import request_ids
from serving.models import ServedModels
from serving.prediction_ids import PredictionIds, open_prediction_ids
from serving.prediction_log import LogBook
from serving.predictions import Answering
from serving.reading import features_of
from serving.served import ServedModel
from serving.shadows import Shadows
from tests.serving.asking import ask

NOW_US = 1_381_838_400_000_000  # 2013-10-15 12:00 UTC
MINUTE_US = 60_000_000

CUSTOMER = PlanView(
    name="customer_orders",
    keys=(PlanKey(view_key="customer_id", request_key="customer_id", dtype="int64"),),
    ttl_us=60 * MINUTE_US,
    features=(
        PlanFeature(name="order_count_30d", dtype="int64"),
        PlanFeature(name="order_value_mean_30d", dtype="float64"),
        PlanFeature(name="segment", dtype="string"),
    ),
)
PRODUCT = PlanView(
    name="product",
    keys=(PlanKey(view_key="sku", request_key="sku", dtype="string"),),
    ttl_us=0,
    features=(PlanFeature(name="price", dtype="float64"), PlanFeature(name="on_sale", dtype="bool")),
)
PLAN = ReadPlan(
    project="shop",
    feature_service="basket",
    views=(CUSTOMER, PRODUCT),
    transforms=(
        PlanTransform(
            name="request",
            file="transforms/request.py",
            function="request",
            inputs={"price": "product__price", "quantity": "quantity"},
            outputs=(PlanFeature(name="total", dtype="float64"),),
        ),
    ),
    request_inputs=(
        PlanFeature(name="quantity", dtype="int64"),
        PlanFeature(name="discount", dtype="float64"),
        PlanFeature(name="channel", dtype="string"),
        PlanFeature(name="gift", dtype="bool"),
        PlanFeature(name="question_epoch_us", dtype="int64"),
    ),
    question_time_input="question_epoch_us",
    nullable_inputs=("discount",),
    output_columns=(),
)
KEYS = {"customer_id": 1, "sku": "A-1"}
INPUTS = {"quantity": 3, "discount": 0.25, "channel": "web", "gift": False}
ROW = {"keys": KEYS, "inputs": INPUTS}

Row = tuple[int, int, dict[str, object]]


def make_spec(**declared: Any) -> ModelSpec:
    """What the basket model's TOML says, and patience: no test of something else fails on a busy machine."""
    serving = {"deadline_ms": 60_000, **declared.get("serving", {})}
    return ModelSpec.model_validate(
        {
            "name": "basket",
            "description": "What will this basket be worth?",
            "owner": "shop@example.org",
            "runbook": "docs/basket.md",
            "task": "regression",
            "feature_service": "basket",
            "metric": "mae",
            "examples": {"sql": "basket.sql", "keys": {"customer_id": "int64", "sku": "string"}},
            "time": {
                "cutoff": from_us(NOW_US), "validation_days": 7, "gap_hours": 24, "test_days": 14,
            },
            **declared,
            "serving": serving,
        }
    )  # fmt: skip


ROWS: dict[str, dict[object, Row]] = {
    "customer_orders": {
        1: (NOW_US - 5 * MINUTE_US, NOW_US - 4 * MINUTE_US,
            {"order_count_30d": 2**53 + 1, "order_value_mean_30d": 0.1 + 0.2, "segment": "neu"}),
        10: (NOW_US - 1, NOW_US, {"order_count_30d": 99, "order_value_mean_30d": 9.0, "segment": "x"}),
        7: (NOW_US - 61 * MINUTE_US, NOW_US - 61 * MINUTE_US,
            {"order_count_30d": 7, "order_value_mean_30d": 7.0, "segment": "old"}),
    },
    "product": {"A-1": (NOW_US - 90 * MINUTE_US, NOW_US, {"price": -0.0, "on_sale": True})},
}  # fmt: skip


@dataclass
class InMemoryFeatures:
    """Stored rows by view and key; set ``failure`` or ``unavailable`` to break it."""

    plan: ReadPlan = PLAN
    rows: Mapping[str, Mapping[object, Row]] = field(default_factory=lambda: ROWS)
    failure: BaseException | None = None
    unavailable: frozenset[str] = frozenset()

    def read(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        if self.failure is not None:
            raise self.failure
        result = ReadResult({}, {}, {}, {})
        for view in self.plan.views:
            rows = [self._row(view, key, now_us) for key in keys[view.keys[0].request_key]]
            for feature in view.features:
                result.values[view.column(feature.name)] = [row[3].get(feature.name) for row in rows]
            result.event_us[view.name] = [row[1] for row in rows]
            result.created_us[view.name] = [row[2] for row in rows]
            result.status[view.name] = [row[0] for row in rows]
        return result

    def _row(self, view: PlanView, key: object, now_us: int):
        if view.name in self.unavailable:
            return Status.UNAVAILABLE, None, None, {}
        found = self.rows[view.name].get(key)
        if found is None:
            return Status.NOT_FOUND, None, None, {}
        event, created, values = found
        if view.ttl_us and event < now_us - view.ttl_us:
            return Status.EXPIRED, event, created, {}
        return Status.PRESENT, event, created, values


class SumScorer:
    """Scores the sum of all numbers it is fed; its one on-demand output is price times quantity."""

    def __init__(self) -> None:
        self.fed: list[dict[str, Sequence[object]]] = []

    def columns(self, stored, inputs):
        totals = [
            None if price is None else price * quantity
            for price, quantity in zip(stored["product__price"], inputs["quantity"], strict=True)
        ]
        return {**stored, **inputs, "request__total": totals}

    def score_one(self, stored, inputs):
        names = [view.column(f.name) for view in PLAN.views for f in view.features]
        given = {name: [value] for name, value in zip(names, stored, strict=True)}
        asked = {i.name: [value] for i, value in zip(PLAN.request_inputs, inputs, strict=True)}
        columns = self.columns(given, asked)
        return ScoredRow(self.score(columns).tolist(), list(columns["request__total"]))

    def score(self, columns: Mapping[str, Sequence[object]] | pa.Table):
        self.fed.append(dict(columns))
        numbers = ["customer_orders__order_value_mean_30d", "request__total", "discount"]
        return np.array(
            [sum(columns[name][i] or 0.0 for name in numbers) for i in range(len(columns["quantity"]))]
        )


@dataclass
class Service:
    """An app with everything it was built from."""

    root: Path
    app: FastAPI
    admin: Starlette
    parts: Parts
    models: ServedModels
    book: LogBook
    ids: PredictionIds
    clock: FixedClock
    drain: Drain
    reader: InMemoryFeatures
    scorer: SumScorer

    def ask(self, method: str, path: str, **given: object) -> httpx.Response:
        """Make one request to the app."""

        return ask(self.app, method, path, **given)

    def ask_admin(self, method: str, path: str, **given: object) -> httpx.Response:
        """Make one request to the admin port's app."""
        return ask(self.admin, method, path, **given)

    def shadows_done(self) -> None:
        """Wait until the shadows have scored everything."""
        assert self.parts.shadows is not None
        self.parts.shadows.close()

    def predict(self, body: object = None, **given: object) -> httpx.Response:
        """Ask for a prediction of the basket model."""
        if not given:
            given = {"json": ROW if body is None else body}
        return self.ask("POST", "/v1/models/basket/predict", **given)


def deploy(root: Path, version: str = "1", model: str = "basket", digest: str = "0" * 64) -> None:
    champion = Deployed(version=version, digest=digest)
    write_deployment(root / "deployment.json", Deployment(models={model: ModelDeployment(champion=champion)}))


def build_service(
    root: Path,
    *,
    limits: Limits | None = None,
    read_seconds: float = 10.0,
    max_bytes: int = 64 << 20,
    keys: Path | None = None,
    **declared: object,
) -> Service:
    """Build an app over made-up features and a real log below ``root``; ``declared`` goes into its TOML."""
    spec = make_spec(**declared)
    reader, scorer, clock, drain = InMemoryFeatures(), SumScorer(), FixedClock(NOW_US), Drain()
    book = LogBook(root / "predictions", max_bytes=max_bytes)

    reading = Lane("read", deadline=read_seconds)

    def load(model: str, deployed: Deployed) -> ServedModel:
        log = book.predictions(model, deployed.version, prediction_schema(PLAN))
        return ServedModel.of(
            deployed,
            spec=spec,
            plan=PLAN,
            scorer=scorer,
            features=features_of(PLAN, reader, reading),
            log=log,
            new_id=request_ids(),
        )

    deploy(root)
    models = ServedModels(root / "deployment.json", load)
    models.refresh()
    ids = open_prediction_ids(root / "predictions", book.writer)
    access = Access(keys, clock)
    shadows = Shadows(Answering(ids, clock))
    parts = Parts(models, book, ids, clock, access, drain=drain, shadows=shadows, limits=limits or Limits())
    app, admin = create_apps(parts)
    book.labels.open()
    return Service(root, app, admin, parts, models, book, ids, clock, drain, reader, scorer)
