"""From evidence to a release: every file staged, proved, and made visible at once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as package_version
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.release import (
    CARD,
    CERTIFICATE,
    EXAMPLES,
    SOURCES,
    GateResult,
    Release,
    publish_release,
    stage_release,
)
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from training.card import render_card
from training.certificate import Certificate
from training.contents import Model, golden_rows, prove_transforms, write_contents
from training.evaluation import Evaluation
from training.examples import EVENT_TIMESTAMP
from training.fit import THREADS
from training.origins import Origins, read_origins
from training.provenance import code_commit, lock_digest
from training.selection import Selection

_ATTEMPTS = 20

Build = Callable[[Path, str], Mapping[str, object]]
"""Writes a release's files into a folder for a version, and returns its manifest."""


@dataclass(frozen=True, kw_only=True)
class Made(Model):
    """Everything that training made of one model."""

    evaluation: Evaluation
    certificate: Certificate
    gates: tuple[GateResult, ...]
    selection: Selection


def publish(workspace: Workspace, made: Made, *, version: str | None, created_at: datetime) -> Release:
    """Write a release under the version given, or else under the next free number.

    Raises
    ------
    ReleaseError
        If an on-demand view gives other values alone than in Feast, or the version is taken.
    """
    golden = golden_rows(made)
    prove_transforms(made.joined, golden)
    origins = read_origins(workspace, made.spec)

    def build(staged: Path, chosen: str) -> Mapping[str, object]:
        manifest = _manifest(workspace, made, version=chosen, created_at=created_at)
        _write_files(staged, made, golden=golden, origins=origins)
        (staged / CARD).write_text(
            render_card(
                manifest,
                made.evaluation,
                made.certificate,
                importance=made.fitted.importance,
                selection=made.selection,
            )
        )
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


def _write_files(staged: Path, made: Made, *, golden: pa.Table, origins: Origins) -> None:
    write_contents(staged, made, golden)
    (staged / EXAMPLES).write_text(origins.examples)
    (staged / SOURCES).write_text(origins.model_dump_json(indent=1))
    (staged / CERTIFICATE).write_text(json.dumps(made.certificate.as_json(), indent=2))


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
