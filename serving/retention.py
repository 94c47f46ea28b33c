"""Take old rows out of the prediction log: planned first, told in full, recorded, and never half done.

Only sealed segments change: one whose rows are all old is removed, one that holds others is written anew
beside it and renamed over it, so that a reader sees the old rows or not, and a kill costs nothing.
What cannot be taken now, an open journal's rows, is counted and told.
"""

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from knownat.clock import to_us
from knownat.contract.journal import read_journal
from knownat.contract.log_reader import LABELS, journal_path, journals_in, version_folders
from knownat.contract.model_spec import Monitoring
from knownat.contract.prediction_log import TIMESTAMP
from knownat.contract.release import MANIFEST, Manifest
from knownat.contract.report_files import training_values
from knownat.contract.workspace import Workspace
from knownat.errors import LogError
from serving.sealing import seal_orphans

AUDIT = "retention.jsonl"
_SEGMENT, _TORN = "segment-", "torn-"


@dataclass(frozen=True)
class Part:
    """One file of the log, and how many of its rows are old."""

    path: Path
    rows: int
    old: int


@dataclass(frozen=True)
class Plan:
    """What a retention run takes and what it must leave."""

    before: datetime
    model: str | None
    predictions: tuple[Part, ...] = ()
    labels: tuple[Part, ...] = ()
    torn: tuple[Path, ...] = ()
    """Journals set aside by a crash: their rows are in segments, and they hold old ones."""
    unsealed: tuple[Part, ...] = ()
    """Journals that are still written, or being sealed; their old rows stay for now."""
    unlabelled: dict[str, int] = field(default_factory=dict)
    """Old rows by model whose labels may still arrive."""
    values: tuple[Part, ...] = ()
    """What training would have seen of old rows, kept beside the reports of windows with skew."""

    @property
    def prediction_rows(self) -> int:
        """How many predictions it takes."""
        return sum(part.old for part in self.predictions)

    @property
    def label_rows(self) -> int:
        """How many labels it takes."""
        return sum(part.old for part in self.labels)

    @property
    def value_rows(self) -> int:
        """Of how many predictions it takes the values beside reports."""
        return sum(part.old for part in self.values)

    @property
    def takes(self) -> bool:
        """Whether anything goes."""
        return bool(self.predictions or self.labels or self.torn or self.values)

    @property
    def kept_rows(self) -> int:
        """How many old rows it must leave, since they are not sealed."""
        return sum(part.old for part in self.unsealed)


def seal_abandoned(root: Path) -> None:
    """Seal the journals of writers that are gone, so that their rows can be taken."""
    for folder in sorted(path for path in (*root.glob("*/*"), root / LABELS) if path.is_dir()):
        seal_orphans(folder)


def plan_retention(workspace: Workspace, model: str | None, *, before: datetime, now: datetime) -> Plan:
    """Find every prediction asked, and every label posted, before a moment; nothing changes.

    Raises
    ------
    LogError
        If there is no log of that model, or a file of it is damaged.
    """
    root = workspace.predictions
    models = [model] if model is not None else _models(root)
    folders = {name: version_folders(root, name) for name in models}
    if model is not None and not folders[model]:
        raise LogError(f"{root} has no log of '{model}'; there are {_models(root)}.")
    predictions: list[Part] = []
    unsealed: list[Part] = []
    torn: list[Path] = []
    unlabelled: dict[str, int] = {}
    values: list[Part] = []
    for name, versions in folders.items():
        values += _parts(training_values(workspace, name), "event_timestamp", before, None)
        still_open = now - _label_wait(workspace, name, versions)
        for folder in versions:
            found = list(_old_parts(folder, "event_timestamp", before, None))
            predictions += found
            unsealed += _old_journals(folder, "event_timestamp", before, None)
            torn += _old_torn(folder, "event_timestamp", before)
            if waiting := sum(_between(part.path, still_open, before) for part in found):
                unlabelled[name] = unlabelled.get(name, 0) + waiting
    labels = root / LABELS
    return Plan(
        before,
        model,
        tuple(predictions),
        tuple(_old_parts(labels, "logged_at", before, model)),
        (*torn, *(_old_torn(labels, "logged_at", before) if model is None else ())),
        (*unsealed, *_old_journals(labels, "logged_at", before, model)),
        unlabelled,
        tuple(values),
    )


def apply_retention(workspace: Workspace, plan: Plan, *, now: datetime, reason: str | None) -> None:
    """Do what was planned. One line of ``retention.jsonl`` says what will go, another that it went.

    Raises
    ------
    OSError
        If a file cannot be written or removed; a second run does the rest.
    """
    root = workspace.predictions
    entry = {
        "at": now.isoformat(),
        "before": plan.before.isoformat(),
        "model": plan.model,
        "predictions": plan.prediction_rows,
        "labels": plan.label_rows,
        "values_beside_reports": plan.value_rows,
        "torn_files": len(plan.torn),
        "kept_unsealed": plan.kept_rows,
        "unlabelled": plan.unlabelled,
        "reason": reason,
    }
    _note(root, {**entry, "step": "begun"})
    for part in (*plan.predictions, *plan.values):
        _take(part, "event_timestamp", plan.before, None)
    for part in plan.labels:
        _take(part, "logged_at", plan.before, plan.model)
    for path in plan.torn:
        path.unlink(missing_ok=True)
    _note(root, {**entry, "step": "done"})


def as_told(plan: Plan) -> dict[str, object]:
    """Return a plan as one JSON document."""
    return {
        "before": plan.before.isoformat(),
        "model": plan.model,
        "predictions": plan.prediction_rows,
        "labels": plan.label_rows,
        "values_beside_reports": plan.value_rows,
        "torn_files": len(plan.torn),
        "kept_unsealed": plan.kept_rows,
        "unlabelled": plan.unlabelled,
        "files": [
            {**asdict(part), "path": str(part.path)}
            for part in (*plan.predictions, *plan.labels, *plan.values)
        ],
    }


def _models(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("*") if path.is_dir() and path.name != LABELS)


def _label_wait(workspace: Workspace, model: str, versions: list[Path]) -> timedelta:
    """How long the model waits for a label: the longest of its releases that are still there."""
    hours = []
    for folder in versions:
        path = workspace.releases / model / folder.name / MANIFEST
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
        hours.append(manifest.spec.monitoring.label_wait_hours)
    return timedelta(hours=max(hours, default=Monitoring().label_wait_hours))


def _old_parts(folder: Path, column: str, before: datetime, model: str | None) -> Iterator[Part]:
    # Sealing of others is not over: it would write again what is taken now.
    sealed = (
        path
        for path in sorted(folder.glob(f"{_SEGMENT}*.parquet"))
        if not journal_path(folder, path.stem.removeprefix(_SEGMENT)).exists()
    )
    yield from _parts(sealed, column, before, model)


def _parts(files: Iterable[Path], column: str, before: datetime, model: str | None) -> Iterator[Part]:
    for path in files:
        table = _read(path, column)
        old = pc.sum(_is_old(table, column, before, model)).as_py() or 0
        if old:
            yield Part(path, len(table), old)


def _old_journals(folder: Path, column: str, before: datetime, model: str | None) -> list[Part]:
    parts = []
    for path in journals_in(folder):
        try:
            table = read_journal(path).table()
        except FileNotFoundError:
            continue  # Sealed just now; the next run sees the segment.
        if table is not None and (old := pc.sum(_is_old(table, column, before, model)).as_py()):
            parts.append(Part(path, len(table), old))
    return parts


def _old_torn(folder: Path, column: str, before: datetime) -> list[Path]:
    return [path for path in sorted(folder.glob(f"{_TORN}*.bin")) if _newest(path, column) < before]


def _newest(path: Path, column: str) -> datetime:
    """When its last whole row was; the bytes behind it are of the same moment."""
    table = read_journal(path).table()
    found = None if table is None else pc.max(table[column]).as_py()
    return found or datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _between(path: Path, first: datetime, before: datetime) -> int:
    if first >= before:
        return 0
    when = _read(path, "event_timestamp")["event_timestamp"]
    low, high = (pa.scalar(to_us(moment), pa.int64()).cast(TIMESTAMP) for moment in (first, before))
    return int(pc.sum(pc.and_(pc.greater_equal(when, low), pc.less(when, high))).as_py() or 0)


def _is_old(table: pa.Table, column: str, before: datetime, model: str | None) -> pa.ChunkedArray:
    old = pc.less(table[column], pa.scalar(to_us(before), pa.int64()).cast(TIMESTAMP))
    if model is None:
        return old
    # A prediction id begins with its model's name, which holds no dot.
    return pc.and_(old, pc.starts_with(table["prediction_id"], f"{model}."))


def _read(path: Path, *columns: str) -> pa.Table:
    try:
        with pa.OSFile(str(path)) as file:
            return pq.read_table(file, columns=[*columns, "prediction_id"] if columns else None)
    except pa.ArrowException as error:
        raise LogError(f"{path} cannot be read: {error}. Restore it or move it away.") from error


def _take(part: Part, column: str, before: datetime, model: str | None) -> None:
    if part.old == part.rows:
        part.path.unlink(missing_ok=True)
        return
    table = _read(part.path)
    staged = part.path.with_name(f".{part.path.name}.{secrets.token_hex(4)}")
    try:
        with staged.open("wb") as file:
            kept = table.filter(pc.invert(_is_old(table, column, before, model)))
            pq.write_table(kept.replace_schema_metadata(table.schema.metadata), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        staged.replace(part.path)
    finally:
        staged.unlink(missing_ok=True)


def _note(root: Path, entry: dict[str, object]) -> None:
    descriptor = os.open(root / AUDIT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, (json.dumps(entry, sort_keys=True) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
