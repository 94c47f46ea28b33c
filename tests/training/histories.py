"""Histories of visits made at random: a repo with an honest feature table and one table a way to leak."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan, Status
from knownat.contract.workspace import Workspace
from knownat.stores.asof import join_as_of
from knownat.stores.tables import FeatureTable
from training.frame import Joined

VISITS = Path(__file__).parent / "repos" / "visits"
START = datetime(2024, 1, 1, tzinfo=UTC)
CUTOFF = datetime(2024, 2, 10, tzinfo=UTC)
DAYS = 50
LEAKS = ("future_label", "backfilled", "stamped_at_start", "target_encoded")
HONEST = ("risk_last", "outcome_sum", "outcome_count")


def write_history(
    folder: Path, *, seed: int, strength: float = 1.0, predictive: float | None = None
) -> Workspace:
    """Write the raw files of one history.

    ``strength`` is the share of rows in which the column that leaks tells the answer; elsewhere it
    tells another row's. ``predictive`` says how much of the answer follows from the risk, which is known.
    """
    dice = np.random.default_rng(seed)
    patients = int(dice.integers(5, 40))
    rows = int(dice.integers(400, 1_200))
    patient = dice.integers(1, patients + 1, rows)
    # Sorted and apart, so that a patient visits once at a time.
    hours = np.sort(dice.choice(DAYS * 24 * 60, rows, replace=False)) / 60
    risk = dice.normal(size=rows)
    pull = (predictive if predictive is not None else dice.uniform(0, 3)) * risk
    outcome = (dice.random(rows) < 1 / (1 + np.exp(-pull + dice.uniform(0, 1.5)))).astype(int)
    waits = dice.lognormal(np.log(dice.uniform(1, 48)), 0.7, rows)
    told = np.where(dice.random(rows) < strength, outcome, dice.permutation(outcome))
    visited = [START + timedelta(minutes=round(hour * 60)) for hour in hours]
    known = [
        when + timedelta(minutes=round(60 * wait) + 1) for when, wait in zip(visited, waits, strict=True)
    ]
    repo = folder / "feature_repo"
    shutil.copytree(VISITS, repo)
    visits = zip(patient, visited, risk, strict=True)
    outcomes = zip(patient, visited, outcome, told, known, strict=True)
    # A few visits never end.
    ended = dice.random(rows) < 0.97
    _write(repo / "visits.csv", "patient_id,visited_at,risk", visits)
    _write(
        repo / "outcomes.csv",
        "patient_id,visited_at,outcome,told,known_at",
        (row for row, there in zip(outcomes, ended, strict=True) if there),
    )
    return Workspace.at(repo)


def join(workspace: Workspace, questions: pa.Table) -> pa.Table:
    """Join every table of the repo with the questions, without Feast."""
    return join_with_evidence(workspace, questions).frame


def join_with_evidence(
    workspace: Workspace, questions: pa.Table, tables: Sequence[str] = ("honest", *LEAKS)
) -> Joined:
    frame = rows = questions
    views = []
    for name in tables:
        features = HONEST if name == "honest" else ("leak",)
        table = FeatureTable(
            name=name,
            rows=pl.scan_parquet(workspace.data / f"{name}.parquet"),
            keys=("patient_id",),
            event="event_timestamp",
            created="created_timestamp",
            features=features,
        )
        found = join_as_of(
            pl.DataFrame(questions.select(["patient_id", "event_timestamp"])),
            table,
            features=features,
            keys={"patient_id": "patient_id"},
            event_timestamp="event_timestamp",
        )
        for feature in features:
            column = found.values[feature].to_arrow()
            frame = frame.append_column(f"{name}__{feature}", column)
            rows = rows.append_column(f"{name}__{feature}", column)
        moment = pa.timestamp("us", tz="UTC")
        for what, times in (("event", found.event_us), ("created", found.created_us)):
            rows = rows.append_column(
                f"{name}__{what}_timestamp", times.to_arrow().cast(pa.int64()).cast(moment)
            )
        status = [str(Status.NOT_FOUND if t is None else Status.PRESENT) for t in found.event_us]
        rows = rows.append_column(f"{name}__status", pa.array(status))
        key = PlanKey(view_key="patient_id", request_key="patient_id", dtype="int64")
        kinds = [PlanFeature(name=f, dtype=str(frame[f"{name}__{f}"].type)) for f in features]
        views.append(PlanView(name=name, keys=(key,), ttl_us=0, features=tuple(kinds)))
    columns = tuple(view.column(feature.name) for view in views for feature in view.features)
    plan = ReadPlan(project="visits", feature_service="outcome", views=tuple(views), output_columns=columns)
    return Joined(frame=frame, rows=rows, plan=plan, sources={})


def _write(path: Path, header: str, rows) -> None:
    lines = (",".join(v.isoformat() if isinstance(v, datetime) else str(v) for v in row) for row in rows)
    path.write_text("\n".join([header, *lines]) + "\n")
