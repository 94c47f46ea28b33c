"""Score a file with the same scorer, from what was known at each row's own time."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.contract.read_plan import PlanView, ReadPlan, Status
from knownat.contract.release import Deployed, Release, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, ReleaseError, RowsNotConserved
from knownat.scoring.scorer import Scorer
from knownat.scoring.trial import trial_load
from serving.prediction_ids import PredictionIds, open_prediction_ids
from serving.question_files import ADDED_COLUMNS, read_question_file

History = Callable[[pa.Table, ReadPlan], pa.Table]
"""Examples and a plan in; the same rows out, with each view's stored values and ``<view>__status``."""

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Scored:
    """What was done: by which version, how many rows."""

    version: str
    rows: int


def score_file(
    workspace: Workspace,
    model: str,
    source: Path,
    target: Path,
    *,
    version: str | None,
    history: History,
    batch_rows: int = BATCH_ROWS,
) -> Scored:
    """Score every row of a Parquet file, in order, a batch at a time; the target appears when it is whole.

    Raises
    ------
    ReleaseError
        If there is no such release, or it cannot be loaded.
    ConfigError
        If the file cannot be read, lacks a column, or holds other values than declared.
    """
    release = _find_release(workspace, model, version)
    scorer, plan = Scorer.load(release), release.plan
    ids = open_prediction_ids(workspace.predictions, os.urandom(8).hex())
    if not target.parent.is_dir():
        raise ConfigError(target, ["its folder is not there"])
    rows = 0
    staged = target.with_name(f".{target.name}")
    writer: pq.ParquetWriter | None = None
    try:
        for examples in read_question_file(source, plan, batch_rows=batch_rows):
            scored = _score(scorer, release, examples, history, ids)
            writer = writer or pq.ParquetWriter(staged, scored.schema)
            writer.write_table(scored)
            rows += len(scored)
        if writer is not None:
            writer.close()
            staged.replace(target)
    finally:
        if writer is not None:
            writer.close()
        staged.unlink(missing_ok=True)
    return Scored(release.manifest.version, rows)


def _find_release(workspace: Workspace, model: str, version: str | None) -> Release:
    deployed: Deployed | None = None
    if version is None:
        models = read_deployment(workspace.deployment).models
        if model not in models:
            raise ReleaseError(
                f"No version of '{model}' serves; there are {sorted(models)}. Name one: --version."
            )
        deployed = models[model].champion
    path = workspace.releases / model / (deployed.version if deployed else str(version))
    digest = deployed.digest if deployed else None
    trial_load(path, digest)
    return read_release(path, digest=digest)


def _score(
    scorer: Scorer, release: Release, examples: pa.Table, history: History, ids: PredictionIds
) -> pa.Table:
    plan, manifest, rows = release.plan, release.manifest, len(examples)
    needed = dict.fromkeys([*plan.request_keys, "event_timestamp", *(i.name for i in plan.request_inputs)])
    frame = history(examples.select(list(needed)), plan)
    if len(frame) != rows:
        raise RowsNotConserved(f"{rows} rows went into the join, {len(frame)} came out.")
    stored = {name: frame[name].to_pylist() for view in plan.views for name in map(view.column, _names(view))}
    inputs = {i.name: examples[i.name].to_pylist() for i in plan.request_inputs}
    scores = scorer.score(scorer.columns(stored, inputs))
    added = (
        pa.array(ids.issue(manifest.model, rows)),
        pa.repeat(manifest.model, rows),
        pa.repeat(manifest.version, rows),
        _degraded(frame, plan),
        pa.array(scores.tolist()),
    )
    for name, column in zip(ADDED_COLUMNS, added, strict=True):
        examples = examples.append_column(name, column)
    return examples


def _names(view: PlanView) -> list[str]:
    return [feature.name for feature in view.features]


def _degraded(frame: pa.Table, plan: ReadPlan) -> pa.Array:
    """Whether any view of a row gave no current value, as online."""
    degraded = np.zeros(len(frame), dtype=np.bool_)
    for view in plan.views:
        present = pc.equal(frame[f"{view.name}__status"], Status.PRESENT.value)
        degraded |= ~present.to_numpy(zero_copy_only=False).astype(np.bool_)
    return pa.array(degraded)
