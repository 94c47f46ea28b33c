"""What a window is judged from: the log's predictions and labels, and the release that answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.contract.log_reader import read_labels, read_predictions, version_folders
from knownat.contract.prediction_log import Role, class_columns, prediction_schema
from knownat.contract.reference import Reference, read_reference
from knownat.contract.release import BASELINE, HOLDOUT, Release, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from monitoring.contenders import find_contests
from monitoring.contest import Contest
from monitoring.estimate import MOST_WINDOWS
from monitoring.performance import join_labels, mature
from monitoring.windows import Window

_OF_AN_ANSWER = ("prediction_id", "logged_at", "event_timestamp", "role", "score")
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Evidence:
    """One release, what it was trained on, and what it answered in one window."""

    release: Release
    reference: Reference
    baseline: pa.Table
    """A sample of the rows it was trained on, in order of time."""
    holdout: pa.Table
    """Predictions of the release's own test, each with its label."""
    predictions: pa.Table
    """As champion, ordered by the question's time."""
    labels: pa.Table
    other_rows: Mapping[str, int]
    """What others answered in the window, by version and role."""
    contests: tuple[Contest, ...] = ()
    """Challengers and shadows beside the champion, on all rows that both have scored."""
    before: pa.Table | None = None
    """What it answered before the window, with the ``label`` that was known by the window's end: time,
    id and score alone, and of a binary model only."""


def read_evidence(workspace: Workspace, model: str, window: Window) -> Evidence:
    """Read the log of a window and the release that gave most of its answers.

    A window without answers is judged by the release deployed now.

    Raises
    ------
    ReleaseError
        If nothing is deployed, or the release cannot be read or was changed.
    LogError
        If a file of the log is damaged beyond its tail.
    """
    root = workspace.predictions
    tables = {
        # Version by version: the union of all would give each the columns of the others.
        folder.name: read_predictions(root, model, start=window.start, end=window.end, version=folder.name)
        for folder in version_folders(root, model)
    }
    answered = {version: _as_champion(table) for version, table in tables.items()}
    most = max(answered, key=lambda version: (answered[version].num_rows, version), default=None)
    version = most if most is not None and answered[most].num_rows else None
    release = _release(workspace, model, version)
    judged = release.manifest.version
    table, labels = answered.get(judged), read_labels(root, model)
    return Evidence(
        release=release,
        reference=read_reference(release),
        baseline=read_sample(release, BASELINE),
        holdout=read_sample(release, HOLDOUT),
        predictions=prediction_schema(release.plan).empty_table() if table is None else table,
        labels=labels,
        other_rows=_others(tables, judged),
        contests=tuple(find_contests(workspace, release, window)),
        before=_answered_before(workspace, release, window, labels),
    )


def read_sample(release: Release, name: str) -> pa.Table:
    """Read rows that a release carries, with scores as a log has them: a list of shares becomes columns."""
    rows = pq.read_table(pa.BufferReader(release.read_bytes(name)))
    if not pa.types.is_list(rows["score"].type):
        return rows
    shares = np.array(rows["score"].to_pylist(), dtype=np.float64).reshape(rows.num_rows, -1)
    for column, share in zip(class_columns(release.plan), shares.T, strict=False):
        rows = rows.append_column(column, pa.array(share))
    place = rows.column_names.index("score")
    return rows.set_column(place, "score", pa.array(shares.max(axis=1, initial=0.0)))


def _answered_before(
    workspace: Workspace, release: Release, window: Window, labels: pa.Table
) -> pa.Table | None:
    spec, length = release.manifest.spec, window.end - window.start
    if spec.task != "binary":
        return None
    earlier = read_predictions(
        workspace.predictions,
        spec.name,
        start=max(window.start - MOST_WINDOWS * length, _EVER),
        end=window.start,
        version=release.manifest.version,
        columns=_OF_AN_ANSWER,
    )
    # Not what is known now: a window that is judged again is promised what it was promised first.
    matured = mature(_as_champion(earlier), spec, now=window.end)
    return join_labels(matured, labels, now=window.end)


def _release(workspace: Workspace, model: str, version: str | None) -> Release:
    deployed = read_deployment(workspace.deployment).models.get(model)
    if version is None and deployed is None:
        raise ReleaseError(
            f"No version of '{model}' is deployed, and none answered in this window. "
            f"Run `knownat train {model}` or name another window."
        )
    champion = deployed.champion if deployed is not None else None
    if champion is not None and version in (None, champion.version):
        return read_release(workspace.releases / model / champion.version, digest=champion.digest)
    return read_release(workspace.releases / model / str(version))


def _as_champion(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["role"], Role.CHAMPION.value))


def _others(tables: Mapping[str, pa.Table], judged: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for version, table in tables.items():
        for pair in table["role"].value_counts().to_pylist():
            if (version, pair["values"]) != (judged, Role.CHAMPION.value):
                counts[f"{version} as {pair['values']}"] = pair["counts"]
    return counts
