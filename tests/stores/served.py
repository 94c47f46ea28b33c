"""A basket model's log and labels, written as a scorer writes them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa

from knownat.contract.prediction_log import Role, prediction_schema
from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan
from serving.labels import PostedLabel, keep_labels
from serving.prediction_ids import open_prediction_ids
from serving.prediction_log import LogBook

PLAN = ReadPlan(
    project="shop",
    feature_service="basket",
    views=(
        PlanView(
            name="orders",
            keys=(PlanKey(view_key="customer_id", request_key="customer_id", dtype="int64"),),
            ttl_us=0,
            features=(PlanFeature(name="count", dtype="int64"),),
        ),
    ),
    request_inputs=(PlanFeature(name="channel", dtype="string"),),
    output_columns=("orders__count",),
)


class ServedModel:
    """The log of one model below a folder; each call is over once it is on disk."""

    def __init__(self, log: Path, model: str, *, version: str = "1", schema: pa.Schema | None = None) -> None:
        self._book = LogBook(log)
        self._model, self._version = model, version
        self._schema = prediction_schema(PLAN) if schema is None else schema
        self._rows = self._book.predictions(model, version, self._schema)
        self._ids = open_prediction_ids(log, self._book.writer)
        self._book.labels.open()

    def answer(self, asked: Iterable[Mapping[str, object]]) -> list[str]:
        """Log one answer each; ``event_timestamp`` in microseconds, columns that are not given are null."""
        ids, rows = [], []
        for one in asked:
            (prediction_id,) = self._ids.issue(self._model, 1)
            when = one["event_timestamp"]
            row = {
                "prediction_id": prediction_id, "request_id": "r", "logged_at": when, "model": self._model,
                "version": self._version, "role": Role.CHAMPION, "degraded": False, "score": 0.5,
                "latency_us": 1, "served__orders__status": "present", **one,
            }  # fmt: skip
            ids.append(prediction_id)
            rows.append([row.get(name) for name in self._schema.names])
        assert self._rows.append(rows) is None
        return ids

    def post(self, prediction_id: str, label: float, *, known_us: int, now_us: int) -> None:
        """Post one label at ``now_us``."""
        labels = [PostedLabel(prediction_id, label, known_us)]
        assert keep_labels(labels, ids=self._ids, log=self._book.labels, now_us=now_us) == []

    def close(self) -> None:
        """Seal what was written."""
        self._book.close()
