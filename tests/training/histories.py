"""Histories of visits made at random: a repo with an honest feature table and one table a way to leak."""

import shutil
from collections.abc import Iterable, Sequence
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

    ``strength`` is the share of rows that the leak of a future label files too early. ``predictive``
    is how strongly the answer follows from the risk, which is known.
    """
    dice = np.random.default_rng(seed)
    rows = int(dice.integers(400, 1_200))
    patient = dice.integers(1, int(dice.integers(5, 40)) + 1, rows)
    minutes = np.sort(dice.choice(DAYS * 24 * 60, rows, replace=False))
    risk = dice.normal(size=rows)
    pull = (dice.uniform(0, 3) if predictive is None else predictive) * risk - dice.uniform(0, 1.5)
    outcome = (dice.random(rows) < 1 / (1 + np.exp(-pull))).astype(int)
    waits = dice.lognormal(np.log(dice.uniform(60, 48 * 60)), 0.7, rows).astype(int)
    visited = [START + timedelta(minutes=int(minute)) for minute in minutes]
    # A second of its own, so that a patient's reports never come at one time.
    known = [
        when + timedelta(minutes=int(wait), seconds=1, microseconds=row)
        for row, (when, wait) in enumerate(zip(visited, waits, strict=True))
    ]
    early = ["true" if e else "false" for e in dice.random(rows) < strength]
    ended = dice.random(rows) < 0.97  # a few visits never end
    repo = folder / "feature_repo"
    shutil.copytree(VISITS, repo)
    visits = zip(patient, visited, risk, strict=True)
    outcomes = zip(patient, visited, outcome, early, known, strict=True)
    _write(repo / "visits.csv", "patient_id,visited_at,risk", visits)
    reported = (row for row, there in zip(outcomes, ended, strict=True) if there)
    _write(repo / "outcomes.csv", "patient_id,visited_at,outcome,early,known_at", reported)
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


def _write(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    lines = (",".join(v.isoformat() if isinstance(v, datetime) else str(v) for v in row) for row in rows)
    path.write_text("\n".join([header, *lines]) + "\n")
