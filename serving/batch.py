"""Score files with the same scorer, from what was known at each row's own time, in bounded memory."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.contract.prediction_log import class_columns
from knownat.contract.read_plan import PlanView, ReadPlan, Status
from knownat.contract.release import Deployed, Release, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, ReleaseError, RowsNotConserved
from knownat.scoring.scorer import Scorer
from knownat.scoring.trial import trial_load
from serving.prediction_ids import PredictionIds, open_prediction_ids
from serving.question_files import ADDED_COLUMNS, find_questions

History = Callable[[pa.Table, ReadPlan], pa.Table]
"""Examples and a plan in; the same rows out, with each view's stored values and ``<view>__status``."""

BATCH_ROWS = 131_072
"""Rows joined at once: each join reads the feature tables, so few and large ones cost least."""

_SCORED_AT_ONCE = 8_192  # As Python's values these take a hundred times their room in Arrow.


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
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score every row of a Parquet file, or of a folder's, in order; the target appears when it is whole.

    Memory is bounded by a batch and the feature tables, not by the file. ``progress`` gets the rows that
    are done, and how many there are.

    Raises
    ------
    ReleaseError
        If there is no such release, or it cannot be loaded.
    ConfigError
        If a file cannot be read, lacks a column, or holds other values than declared; or the target
        cannot be where it is to be.
    """
    _check_target(source, target)
    release = _find_release(workspace, model, version)
    scorer = Scorer.load(release)
    ids = open_prediction_ids(workspace.predictions, os.urandom(8).hex())
    questions = find_questions(source, release.plan)
    done = 0
    with _appearing(target) as write:
        for examples in questions.tables(batch_rows):
            write(_score(scorer, release, examples, history, ids))
            done += len(examples)
            if progress is not None:
                progress(done, questions.rows)
        if done != questions.rows:
            raise RowsNotConserved(f"{questions.rows} rows are in {source}, {done} were scored.")
    return Scored(release.manifest.version, done)


def _check_target(source: Path, target: Path) -> None:
    place = target.resolve()
    if not place.parent.is_dir():
        raise ConfigError(target, ["its folder is not there"])
    if place.is_dir():
        raise ConfigError(target, ["is a folder; name the file to write"])
    if source.resolve() in (place, *place.parents):
        raise ConfigError(target, ["is part of what is scored; write it elsewhere"])


@contextmanager
def _appearing(target: Path) -> Iterator[Callable[[pa.Table], None]]:
    """Give what writes tables into a file; it has its name once all of it is on disk."""
    staged = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    writers: list[pq.ParquetWriter] = []

    def write(table: pa.Table) -> None:
        if not writers:
            writers.append(pq.ParquetWriter(staged, table.schema))
        writers[0].write_table(table)

    try:
        yield write
        for writer in writers:
            writer.close()
        _sync(staged)
        staged.replace(target)
    finally:
        for writer in writers:
            writer.close()
        staged.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    release = read_release(path, digest=digest)
    if release.manifest.model != model:
        raise ReleaseError(f"{path} is a release of '{release.manifest.model}', not of '{model}'.")
    return release


def _score(
    scorer: Scorer, release: Release, examples: pa.Table, history: History, ids: PredictionIds
) -> pa.Table:
    plan, manifest, rows = release.plan, release.manifest, len(examples)
    needed = dict.fromkeys([*plan.request_keys, "event_timestamp", *(i.name for i in plan.request_inputs)])
    frame = history(examples.select(list(needed)), plan)
    if len(frame) != rows:
        raise RowsNotConserved(f"{rows} rows went into the join, {len(frame)} came out.")
    inputs = examples.select([i.name for i in plan.request_inputs])
    parts = [
        _score_some(scorer, frame.slice(start, _SCORED_AT_ONCE), inputs.slice(start, _SCORED_AT_ONCE))
        for start in range(0, rows, _SCORED_AT_ONCE)
    ]
    scores = np.concatenate(parts)
    added = (
        pa.array(ids.issue(manifest.model, rows)),
        pa.repeat(manifest.model, rows),
        pa.repeat(manifest.version, rows),
        _degraded(frame, plan),
        pa.array(scores if scores.ndim == 1 else scores.max(axis=1)),
    )
    for name, column in zip(ADDED_COLUMNS, added, strict=True):
        examples = examples.append_column(name, column)
    for number, name in enumerate(class_columns(plan)):
        examples = examples.append_column(name, pa.array(scores[:, number]))
    return examples


def _score_some(scorer: Scorer, frame: pa.Table, asked: pa.Table) -> npt.NDArray[np.float64]:
    names = [name for view in scorer.plan.views for name in map(view.column, _names(view))]
    stored = {name: frame[name].to_pylist() for name in names}
    inputs = {name: asked[name].to_pylist() for name in asked.column_names}
    return scorer.score(scorer.columns(stored, inputs))


def _names(view: PlanView) -> list[str]:
    return [feature.name for feature in view.features]


def _degraded(frame: pa.Table, plan: ReadPlan) -> pa.Array:
    """Whether any view of a row gave no current value, as online."""
    degraded = np.zeros(len(frame), dtype=np.bool_)
    for view in plan.views:
        present = pc.equal(frame[f"{view.name}__status"], Status.PRESENT.value)
        degraded |= ~present.to_numpy(zero_copy_only=False).astype(np.bool_)
    return pa.array(degraded)
