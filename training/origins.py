"""What a release was made from, written down small enough to keep and fine enough to name a changed row."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from knownat.clock import to_us
from knownat.contract.model_spec import ModelSpec
from knownat.contract.prediction_log import TIMESTAMP
from knownat.contract.workspace import Workspace
from knownat.stores.added_definition import definition_files
from knownat.stores.feature_tables import KNOWN_AT
from knownat.stores.outlines import ViewOutline, outline
from knownat.stores.pipeline_spec import pipelines_folder, read_pipelines
from knownat.stores.repo import open_repo
from training.row_hashes import hash_rows
from training.sketch import Sketch, sketch
from training.split import Rows, microseconds

_CODE = ("knownat", "training")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredSketch(_Frozen):
    """A sketch of some rows of an event table; see :mod:`training.sketch`."""

    rows: int
    counts: str
    hashes: str
    checks: str

    @classmethod
    def of(cls, made: Sketch) -> "StoredSketch":
        """Write a sketch down as text."""
        arrays = (made.counts, made.hashes, made.checks)
        counts, hashes, checks = (base64.b64encode(a.astype("<u8").tobytes()).decode() for a in arrays)
        return cls(rows=made.rows, counts=counts, hashes=hashes, checks=checks)

    def read(self) -> Sketch:
        """Read the sketch back."""
        counts, hashes, checks = (
            np.frombuffer(base64.b64decode(text), dtype="<u8")
            for text in (self.counts, self.hashes, self.checks)
        )
        return Sketch(self.rows, counts.astype(np.int64), hashes.astype(np.uint64), checks.astype(np.uint64))


class EventRows(_Frozen):
    """One event table in two parts: what was known by the cutoff, and what became known after it."""

    known: StoredSketch
    later: StoredSketch


class Origins(_Frozen):
    """``sources.json``: the code, the definitions, the question and the events of one release."""

    format: int = 1
    code: str
    """sha256 over the platform's own modules."""
    pyarrow: str
    duckdb: str
    definitions: Mapping[str, str]
    """sha256 of every file that says what a feature or the model is, by its path in the repo."""
    examples: str
    """The text of the examples' query."""
    events: Mapping[str, EventRows]
    tables: Mapping[str, EventRows] | None = None
    """Tables that no pipeline makes, such as an added CSV's; None in an older release."""


def read_origins(workspace: Workspace, spec: ModelSpec) -> Origins:
    """Write down what a release of a model would be made from now."""
    return Origins(
        code=_digest_code(),
        pyarrow=package_version("pyarrow"),
        duckdb=package_version("duckdb"),
        definitions={name: _digest(path) for name, path in sorted(_definitions(workspace, spec))},
        examples=(workspace.models / spec.examples.sql).read_text(encoding="utf-8"),
        events={
            name: _sketch(events, microseconds(events[KNOWN_AT]), spec)
            for name, events in read_events(workspace)
        },
        tables={name: _sketch(rows, known, spec) for name, rows, known in read_tables(workspace, spec)},
    )


def read_events(workspace: Workspace) -> Iterator[tuple[str, pa.Table]]:
    """Read each event table that the pipelines built."""
    for event in read_pipelines(workspace.repo).event:
        yield event.name, pq.read_table(workspace.data / "events" / f"{event.name}.parquet")


def read_tables(workspace: Workspace, spec: ModelSpec) -> Iterator[tuple[str, pa.Table, Rows]]:
    """Read each file in ``data`` that a model's features come from and no pipeline makes.

    With its rows comes when each became known, in microseconds.
    """
    promised = outline(open_repo(workspace.repo))
    made = {feature.name for feature in read_pipelines(workspace.repo).feature}
    service = promised.services[spec.feature_service]
    for view in (promised.views[name] for name in sorted(service.views)):
        path = workspace.repo / view.source.get("path", "")
        if path.parent == workspace.data and path.stem not in made and path.is_file():
            rows = pq.read_table(path)
            yield path.stem, _plain(rows), _known_us(rows, view)


def _known_us(rows: pa.Table, view: ViewOutline) -> Rows:
    times = [view.source.get(name, "") for name in ("time", "known")]
    moments = [microseconds(rows[name].cast(TIMESTAMP)) for name in times if name in rows.column_names]
    return np.asarray(np.maximum.reduce([np.zeros(rows.num_rows, dtype=np.int64), *moments]))


def _plain(rows: pa.Table) -> pa.Table:
    """Write lists down as text, which can be hashed."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_nested(field.type):
            texts = [None if value is None else repr(value) for value in rows[place].to_pylist()]
            rows = rows.set_column(place, field.name, pa.array(texts, pa.string()))
    return rows


def _sketch(events: pa.Table, known_us: Rows, spec: ModelSpec) -> EventRows:
    hashes = hash_rows(events)
    known = known_us <= to_us(spec.time.cutoff)
    return EventRows(
        known=StoredSketch.of(sketch(hashes[known])), later=StoredSketch.of(sketch(hashes[~known]))
    )


def _definitions(workspace: Workspace, spec: ModelSpec) -> Iterator[tuple[str, Path]]:
    """Name the files that decide what a value is; those of other models and what was built do not."""
    pipelines = (path for path in pipelines_folder(workspace.repo).rglob("*") if path.is_file())
    own = (workspace.model_file(spec.name), workspace.models / spec.examples.sql)
    views = (path for path in definition_files(workspace.repo) if workspace.models not in path.parents)
    metrics = {workspace.models / each.function.partition(":")[0] for each in spec.custom_metrics}
    for path in (*views, *pipelines, *own, *sorted(metrics)):
        if "__pycache__" not in path.parts:
            yield path.relative_to(workspace.repo).as_posix(), path


def _digest_code() -> str:
    digest = hashlib.sha256()
    for package in _CODE:
        found = find_spec(package)
        folder = Path((found.submodule_search_locations or [""])[0]) if found else Path()
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
