"""From evidence to a release: every file staged, proved, and made visible at once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as package_version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.contract.model_spec import ModelSpec
from knownat.contract.reference import write_reference
from knownat.contract.release import (
    BASELINE,
    CARD,
    CERTIFICATE,
    GOLDEN,
    HOLDOUT,
    MODEL,
    PLAN,
    GateResult,
    Release,
    publish_release,
    stage_release,
)
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.scoring.scorer import same_values
from knownat.scoring.transforms import load_transform, run_transform
from training.card import render_card
from training.certificate import Certificate
from training.dataset import Dataset, Vector
from training.evaluation import Evaluation
from training.examples import EVENT_TIMESTAMP, LABEL, LABEL_TIMESTAMP
from training.fit import THREADS, Fitted
from training.frame import Joined
from training.provenance import code_commit, lock_digest
from training.reference import make_reference
from training.split import Rows

GOLDEN_ROWS = 200
SAMPLE_ROWS = 20_000
_ATTEMPTS = 20

Build = Callable[[Path, str], Mapping[str, object]]
"""Writes a release's files into a folder for a version, and returns its manifest."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """Everything that training made of one model."""

    spec: ModelSpec
    joined: Joined
    data: Dataset
    fitted: Fitted
    scores: Vector
    evaluation: Evaluation
    certificate: Certificate
    gates: tuple[GateResult, ...]


def publish(workspace: Workspace, made: Made, *, version: str | None, created_at: datetime) -> Release:
    """Write a release under the version given, or else under the next free number.

    Raises
    ------
    ReleaseError
        If an on-demand view gives other values alone than in Feast, or the version is taken.
    """
    golden = golden_rows(made)
    prove_transforms(made.joined, golden)

    def build(staged: Path, chosen: str) -> Mapping[str, object]:
        manifest = _manifest(workspace, made, version=chosen, created_at=created_at)
        _write_files(staged, made, golden, manifest)
        return manifest

    return publish_as(workspace.releases / made.spec.name, version, build)


def publish_as(folder: Path, version: str | None, build: Build) -> Release:
    """Publish what ``build`` writes under the version given, or else under the next free number.

    Raises
    ------
    ReleaseError
        If the version is taken, or other runs took every number first.
    """
    for _ in range(_ATTEMPTS):
        target = folder / (version or next_version(folder))
        with stage_release(target) as staged:
            manifest = build(staged, target.name)
            try:
                return publish_release(staged, target, manifest)
            except ReleaseError:
                # Another run took this number between our look and our rename.
                if version is not None or not target.exists():
                    raise
    raise ReleaseError(f"{folder}: {_ATTEMPTS} versions were taken in a row. Name one with --version.")


def next_version(folder: Path) -> str:
    """Return the number after the largest there is."""
    numbers = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return str(max(numbers, default=0) + 1)


def golden_rows(made: Made) -> pa.Table:
    """Pick rows evenly over the test side: stored values, inputs, all that Feast made of them, the score."""
    picked = _evenly(made.data.fold.test, GOLDEN_ROWS)
    rows, frame = made.joined.rows.take(picked), made.joined.frame.take(picked)
    plan = made.joined.plan
    columns = {view.column(f.name): rows[view.column(f.name)] for view in plan.views for f in view.features}
    columns |= {i.name: frame[i.name] for i in plan.request_inputs}
    columns |= {name: frame[name] for name in plan.output_columns}
    columns["score"] = _scores(made.scores[picked])
    return pa.table(columns)


def prove_transforms(joined: Joined, golden: pa.Table) -> None:
    """Check that each pinned on-demand body gives, alone, what it gave inside Feast.

    Raises
    ------
    ReleaseError
        If a value differs; None equals NaN, everything else is compared exactly.
    """
    columns = {name: golden[name].to_pylist() for name in golden.column_names}
    for transform in joined.plan.transforms:
        loaded = load_transform(transform, joined.sources[transform.file])
        for name, values in run_transform(loaded, columns).items():
            if not same_values(values, columns[name]):
                raise ReleaseError(
                    f"On-demand feature '{name}' gives other values alone than in Feast. "
                    "Its body must treat None and NaN alike and use nothing but its inputs."
                )


def _write_files(staged: Path, made: Made, golden: pa.Table, manifest: Mapping[str, object]) -> None:
    plan = made.joined.plan
    (staged / MODEL).write_bytes(made.fitted.model)
    (staged / PLAN).write_text(plan.model_dump_json(indent=2))
    for transform in plan.transforms:
        target = staged / transform.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(made.joined.sources[transform.file])
    pq.write_table(golden, staged / GOLDEN)
    names = made.data.schema.names
    answers = [EVENT_TIMESTAMP, LABEL, LABEL_TIMESTAMP]
    pq.write_table(_sample(made, made.data.fold.fit, [*answers, *names]), staged / BASELINE)
    asked = [*made.spec.examples.keys, *made.spec.examples.inputs]
    pq.write_table(_sample(made, made.data.fold.test, [*asked, *answers, *names]), staged / HOLDOUT)
    write_reference(make_reference(made.joined, made.data, made.scores, made.spec), staged)
    (staged / CERTIFICATE).write_text(json.dumps(made.certificate.as_json(), indent=2))
    (staged / CARD).write_text(
        render_card(manifest, made.evaluation, made.certificate, importance=made.fitted.importance)
    )


def _manifest(
    workspace: Workspace, made: Made, *, version: str, created_at: datetime
) -> Mapping[str, object]:
    asked = made.joined.frame[EVENT_TIMESTAMP].take(pa.array(made.data.fold.fit))
    return {
        "model": made.spec.name,
        "version": version,
        "spec": made.spec,
        "feature_schema": made.data.schema,
        "training_start": pc.min(asked).as_py(),
        "training_end": pc.max(asked).as_py(),
        "cutoff": made.spec.time.cutoff,
        "training_rows": len(made.data.fold.fit),
        "best_iteration": made.fitted.best_iteration,
        "threads": THREADS,
        "code_commit": code_commit(workspace.repo),
        "lock_digest": lock_digest(workspace.repo),
        "lightgbm_version": package_version("lightgbm"),
        "created_at": created_at,
        "metrics": made.evaluation.metrics,
        "baselines": made.evaluation.baselines,
        "slices": made.evaluation.slices,
        "gates": made.gates,
    }


def _sample(made: Made, rows: Rows, names: list[str]) -> pa.Table:
    picked = _evenly(rows, SAMPLE_ROWS)
    table = made.joined.frame.select(names).take(picked)
    return table.append_column("score", _scores(made.scores[picked]))


def _evenly(rows: Rows, count: int) -> Rows:
    """Pick at most ``count`` rows at equal distances, always the same ones."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)]


def _scores(scores: Vector) -> pa.Array:
    return pa.array(scores if scores.ndim == 1 else scores.tolist())
