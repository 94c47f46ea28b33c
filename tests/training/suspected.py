"""Frames to be suspected or not: parcels whose depot's load was written some hours before the answer."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan
from tests.training.made import COLUMNS, MOMENT, make_frame, make_spec
from training.dataset import Vector, lay_out
from training.frame import Joined
from training.split import split_by_time
from training.suspicion import Suspicion, suspect

KEY = PlanKey(view_key="parcel_id", request_key="parcel_id", dtype="int64")
# The model is not given `size`: only an on-demand view reads it.
KINDS = (PlanFeature(name="load", dtype="float64"), PlanFeature(name="size", dtype="float64"))
VIEW = PlanView(name="depot", keys=(KEY,), ttl_us=0, features=KINDS)
PLAN = ReadPlan(project="parcels", feature_service="late_parcel", views=(VIEW,), output_columns=COLUMNS)


def look(
    task: str = "binary",
    frame: pa.Table | None = None,
    asked: pa.Table | None = None,
    lead_hours: Vector | None = None,
    status: Sequence[str] | None = None,
    spec: dict[str, object] | None = None,
    **leaks: object,
) -> tuple[Suspicion, ...]:
    """Look for leaks in a frame; ``lead_hours`` is how long before the answer each row was written."""
    frame = make_frame(task) if frame is None else frame
    declared = make_spec(task, leaks=leaks, **(spec or {}))
    lead = np.full(frame.num_rows, 30.0) if lead_hours is None else lead_hours
    known = frame["label_timestamp"].to_pylist()
    created = [when - timedelta(hours=float(h)) for when, h in zip(known, lead, strict=True)]
    rows = pa.table(
        {
            "depot__created_timestamp": pa.array(created, MOMENT),
            "depot__status": ["present"] * frame.num_rows if status is None else status,
        }
    )
    fold = split_by_time(frame, declared)
    data = lay_out(frame, COLUMNS, labels=frame["label"].to_numpy(), fold=fold)
    return suspect(declared, Joined(frame, rows, PLAN, {}), data, frame if asked is None else asked)


def with_column(frame: pa.Table, name: str, values: object) -> pa.Table:
    at = frame.column_names.index(name)
    return frame.set_column(at, name, pa.array(values, from_pandas=True))
