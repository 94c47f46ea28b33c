"""What monitoring will hold production against: the profile of the rows the model was fitted to."""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from knownat.contract.model_spec import ModelSpec
from knownat.contract.reference import SCORE, Reference
from training.dataset import Dataset, Vector
from training.examples import EVENT_TIMESTAMP
from training.frame import Joined
from training.split import Rows

_DAY_HOURS = 24
_ORIGIN = ("event_timestamp", "created_timestamp", "status")


def make_reference(joined: Joined, data: Dataset, scores: Vector, spec: ModelSpec) -> Reference:
    """Profile every row the model was fitted to, and its scores of the rows it was not.

    Scores of rows a model was fitted to are more certain than it will ever be again.
    """
    fold = data.fold
    rows = joined.frame.select([EVENT_TIMESTAMP, *data.schema.names])
    for view in joined.plan.views:
        for what in _ORIGIN:
            rows = rows.append_column(f"served__{view.name}__{what}", joined.rows[f"{view.name}__{what}"])
    return Reference.of(
        _take(rows, fold.fit),
        _scored(joined.frame, fold.test, scores),
        schema=data.schema,
        plan=joined.plan,
        step=timedelta(hours=min(spec.monitoring.window_hours, _DAY_HOURS)),
    )


def _scored(frame: pa.Table, rows: Rows, scores: Vector) -> pa.Table:
    # Of a score a class, the one that is logged as the score: the largest.
    numbers = pa.array((scores if scores.ndim == 1 else scores.max(axis=1))[rows].astype(np.float64))
    return pa.table({EVENT_TIMESTAMP: _take(frame.select([EVENT_TIMESTAMP]), rows)[0], SCORE.name: numbers})


def _take(table: pa.Table, rows: Rows) -> pa.Table:
    return table.take(pa.array(rows))
