"""The prediction log: what was answered, from what, and which rows it came from.

One row a prediction. Journals of framed records (:mod:`knownat.contract.journal`) become Parquet
segments; readers see both, each prediction once. A key that a model declares pseudonymous is text: a
keyed hash (:mod:`knownat.contract.pseudonyms`) of its value.

Columns
-------
``prediction_id request_id logged_at event_timestamp model version role``, ``key__<key>``,
``input__<input>``, every model column under Feast's name ``view__feature``, per view
``served__<view>__event_timestamp``, ``..created_timestamp`` and ``..status``, then ``degraded``, ``score``
and ``latency_us``. A multiclass model's rows end with ``class__0``, ``class__1`` and so on: the share of
each class, of which ``score`` is the largest.
"""

import re
from collections.abc import Collection
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knownat.contract.read_plan import ReadPlan

TIMESTAMP = pa.timestamp("us", tz="UTC")

_SHARE = re.compile(r"class__\d+")
_ARROW = {
    "int64": pa.int64(),
    "int32": pa.int64(),
    "float64": pa.float64(),
    "float32": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
}


class Role(StrEnum):
    """As what a version answered."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SHADOW = "shadow"
    PINNED = "pinned"
    """Asked for by its version, so its rows were not chosen by chance."""


LABEL_SCHEMA = pa.schema(
    [
        pa.field("prediction_id", pa.string(), nullable=False),
        pa.field("label", pa.float64(), nullable=False),
        pa.field("label_timestamp", TIMESTAMP, nullable=False),
        pa.field("logged_at", TIMESTAMP, nullable=False),
    ]
)
"""A label that arrived: ``label_timestamp`` is when it became known, ``logged_at`` when it was posted."""


def prediction_schema(plan: ReadPlan, pseudonymous: Collection[str] = ()) -> pa.Schema:
    """Lay out the rows of one release's log, in the order given in this module's text."""
    head = [
        pa.field("prediction_id", pa.string(), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("logged_at", TIMESTAMP, nullable=False),
        pa.field("event_timestamp", TIMESTAMP, nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
    ]
    keys = [
        pa.field(f"key__{name}", pa.string() if name in pseudonymous else _ARROW[dtype])
        for name, dtype in plan.request_keys.items()
    ]
    inputs = [pa.field(f"input__{i.name}", _ARROW[i.dtype]) for i in plan.request_inputs]
    stored = [pa.field(view.column(f.name), _ARROW[f.dtype]) for view in plan.views for f in view.features]
    made = [pa.field(t.column(f.name), _ARROW[f.dtype]) for t in plan.transforms for f in t.outputs]
    served = [
        pa.field(f"served__{view.name}__{what}", kind, nullable=what != "status")
        for view in plan.views
        for what, kind in (
            ("event_timestamp", TIMESTAMP),
            ("created_timestamp", TIMESTAMP),
            ("status", pa.string()),
        )
    ]
    tail = [
        pa.field("degraded", pa.bool_(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("latency_us", pa.int64(), nullable=False),
    ]
    shares = [pa.field(name, pa.float64(), nullable=False) for name in class_columns(plan)]
    return pa.schema([*head, *keys, *inputs, *stored, *made, *served, *tail, *shares])


def class_columns(plan: ReadPlan) -> list[str]:
    """Name the columns that hold the shares of a multiclass model's classes; none for other models."""
    return [f"class__{number}" for number in range(plan.classes)]


def share_columns(rows: pa.Table) -> list[str]:
    """Name the columns of logged rows that hold the shares of classes, in the order of the classes."""
    return sorted((n for n in rows.column_names if _SHARE.fullmatch(n)), key=lambda n: (len(n), n))


def logged_scores(rows: pa.Table) -> npt.NDArray[np.float64]:
    """Return what one release answered to logged rows: shape (n,), or (n, classes) for a multiclass model."""
    shares = share_columns(rows)
    scores = np.column_stack([rows[name].to_numpy().astype(np.float64) for name in shares or ["score"]])
    return scores if shares else scores[:, 0]
