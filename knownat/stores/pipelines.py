"""Raw files in, feature tables out: the SQL of a repo's ``pipelines`` folder, run by DuckDB.

Knows no repo. What runs stands in ``pipelines.toml``: raw files become events, each with the time
it became known, and events become feature tables, one Parquet file each. Feature SQL sees events
only, so whoever rewrites the events not known at T sees whether a row visible by T depends on them.
"""

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from knownat.clock import to_us
from knownat.contract.workspace import Workspace
from knownat.errors import RepoError
from knownat.stores import build_stamps, feature_tables, pipeline_spec, raw_files, served_log
from knownat.stores.build_stamps import Stamp, Stamps
from knownat.stores.feature_tables import CREATED, EVENT, KNOWN_AT, TIME
from knownat.stores.pipeline_spec import Event, Feature, PipelineSpec, pipelines_folder, read_pipelines
from knownat.stores.served_log import load_served, read_served

Progress = Callable[[str], None]
Rewrite = Callable[[duckdb.DuckDBPyConnection, Sequence[str]], None]

_BATCH_ROWS = 65_536


class PipelineError(RepoError):
    """A step of the pipelines failed."""


@dataclass(frozen=True)
class BuiltTable:
    """A feature table on disk; ``seconds`` is 0 for one that was kept, its inputs unchanged."""

    name: str
    path: Path
    rows: int
    sha256: str
    seconds: float


@dataclass(frozen=True)
class _Build:
    """What one build reads and where it writes."""

    repo: Path
    spec: PipelineSpec
    output: Path

    @classmethod
    def of(cls, repo: Path, output: Path | None = None) -> "_Build":
        repo = repo.resolve()
        return cls(repo, read_pipelines(repo), (output or repo / "data").resolve())

    def sql(self, file: str) -> str:
        return (pipelines_folder(self.repo) / file).read_text(encoding="utf-8").strip().removesuffix(";")

    @property
    def log(self) -> Path:
        return Workspace.at(self.repo).predictions

    def event_file(self, name: str) -> Path:
        return self.output / "events" / f"{name}.parquet"

    def feature_file(self, name: str) -> Path:
        return self.output / f"{name}.parquet"


def build_features(
    repo: Path,
    *,
    progress: Progress | None = None,
    output: Path | None = None,
    rewrite: Rewrite | None = None,
) -> list[BuiltTable]:
    """Build every feature table of a repo that is missing or whose inputs have changed.

    The same inputs give the same bytes. Features go to ``<output>/<name>.parquet`` and events to
    ``<output>/events``, by default under the repo's ``data``; ``progress`` hears each table's name.

    ``rewrite`` is given the connection and the names of the event tables and may change their rows
    before any feature is made; each has the column ``known_at``. It needs an ``output`` of its own,
    so that altered rows never stand among the real ones, and nothing is kept from an earlier build.

    Raises
    ------
    ConfigError
        If ``pipelines.toml`` cannot be used as it is.
    PipelineError, RawFileError, TableError
        If a raw file, a query or a table is not as declared. The table of before stays whole.
    """
    if rewrite is not None and output is None:
        raise PipelineError("Rewritten events would replace the real tables; give build_features an output.")
    build = _Build.of(repo, output)
    build.output.mkdir(parents=True, exist_ok=True)
    stamps = Stamps(build.output)
    report = progress or _say_nothing
    events = _build_events(build, stamps, report)
    return _build_features(build, stamps, report, rewrite, events=events)


def query_events(
    repo: Path, sql_file: Path, *, data: Path | None = None, known_by: datetime | None = None
) -> pa.Table:
    """Run a query over a repo's built events, as a model's examples do.

    Each event of ``pipelines.toml`` is a view of its name, with the column ``known_at``. Times come
    back as UTC microseconds. ``data`` is the folder that was built into, by default the repo's own.
    With ``known_by`` the query sees only what was known then: its answer stays the same for ever.

    Raises
    ------
    PipelineError
        If the events have not been built, or the query fails.
    """
    build = _Build.of(repo, data)
    if missing := [table.name for table in build.spec.event if not build.event_file(table.name).is_file()]:
        raise PipelineError(f"Events {missing} are not built; run `knownat features build --repo {repo}`.")
    with _connect() as connection:
        _open_events(build, connection, "VIEW", known_by=known_by)
        return _read(connection, sql_file.read_text(encoding="utf-8"), sql_file).read_all()


def _build_events(build: _Build, stamps: Stamps, progress: Progress) -> list[Stamp]:
    spec = build.spec
    files = {name: raw_files.find_raw_file(name, raw, repo=build.repo) for name, raw in spec.raw.items()}
    logs = {name: read_served(name, log, log=build.log) for name, log in spec.served.items()}
    inputs = _digest(
        _engine(),
        *(log.model_dump_json() + logs[name].digest for name, log in spec.served.items()),
        *(raw.model_dump_json() + raw_files.digest(files[name]) for name, raw in spec.raw.items()),
        *(table.model_dump_json() + build.sql(table.sql) for table in (*spec.staging, *spec.event)),
    )
    kept = [stamps.find(build.event_file(table.name), inputs=inputs) for table in spec.event]
    if None not in kept:
        return [stamp for stamp in kept if stamp is not None]
    built: list[Stamp] = []
    with _connect() as connection, tempfile.TemporaryDirectory() as scratch:
        for name, raw in spec.raw.items():
            raw_files.load_raw_file(connection, name, raw, path=files[name], scratch=Path(scratch))
        for name, rows in logs.items():
            load_served(connection, name, rows)
        for table in spec.staging:
            _run(connection, f'CREATE TABLE "{table.name}" AS {build.sql(table.sql)}', table.sql)
        for event in spec.event:
            progress(event.name)
            path = build.event_file(event.name)
            built.append(stamps.put(path, inputs=inputs, rows=_write_event(build, connection, event, path)))
    return built


def _write_event(build: _Build, connection: duckdb.DuckDBPyConnection, event: Event, path: Path) -> int:
    # The first column sorts first: rows lie in the order in which they became known.
    rows = f"SELECT ({event.known_at}) AS {KNOWN_AT}, * FROM ({build.sql(event.sql)}\n) ORDER BY ALL"
    batches = _read(connection, rows, event.sql)
    if (kind := batches.schema.field(KNOWN_AT).type) != TIME:
        raise PipelineError(f"known_at of event '{event.name}' is {kind}; it must be TIMESTAMPTZ ({TIME}).")
    return feature_tables.write_sorted(path, batches, name=event.name, never_null=[KNOWN_AT])


def _build_features(
    build: _Build, stamps: Stamps, progress: Progress, rewrite: Rewrite | None, *, events: Sequence[Stamp]
) -> list[BuiltTable]:
    # The events' own bytes, not what made them: raw data may change where no event does.
    seen = _digest(_engine(), *(stamp.sha256 for stamp in events))
    built: list[BuiltTable] = []
    with _connect() as connection:
        for table in build.spec.feature:
            progress(table.name)
            path = build.feature_file(table.name)
            inputs = _digest(seen, table.model_dump_json(), build.sql(table.sql))
            if rewrite is None and (kept := stamps.find(path, inputs=inputs)):
                built.append(BuiltTable(table.name, path, kept.rows, kept.sha256, 0.0))
                continue
            if not connection.sql("SHOW TABLES").fetchall():
                _open_events(build, connection, "TABLE")
                if rewrite is not None:
                    rewrite(connection, [event.name for event in build.spec.event])
            started = time.perf_counter()
            rows = _write_feature(build, connection, table, path)
            stamp = stamps.put(path, inputs=inputs if rewrite is None else "rewritten events", rows=rows)
            built.append(BuiltTable(table.name, path, rows, stamp.sha256, time.perf_counter() - started))
    return built


def _write_feature(build: _Build, connection: duckdb.DuckDBPyConnection, table: Feature, path: Path) -> int:
    identity = [*table.keys, EVENT, CREATED]
    relation = _sql(connection, build.sql(table.sql), table.sql)
    missing = [column for column in identity if column not in relation.columns]
    if missing:
        raise PipelineError(f"{table.sql}: feature table '{table.name}' lacks {missing}.")
    order = ", ".join([f"greatest({EVENT}, {CREATED})", *(f'"{column}"' for column in identity)])
    batches = _read(connection, f"SELECT * FROM ({build.sql(table.sql)}\n) ORDER BY {order}", table.sql)
    feature_tables.check_types(table.name, batches.schema)
    return feature_tables.write_sorted(path, batches, name=table.name, never_null=identity, unique=identity)


def _open_events(
    build: _Build, connection: duckdb.DuckDBPyConnection, kind: str, *, known_by: datetime | None = None
) -> None:
    known = f" WHERE epoch_us({KNOWN_AT}) <= {to_us(known_by)}" if known_by else ""
    for event in build.spec.event:
        path = str(build.event_file(event.name)).replace("'", "''")
        connection.execute(f"CREATE {kind} \"{event.name}\" AS FROM read_parquet('{path}'){known}")


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    # An ORDER BY below a running sum is what the sum runs over, so order is asked for by name. With
    # its default threshold DuckDB 2.0 may plan an as-of join as a nested loop: 130 s for 2.5 s.
    connection.execute(
        "SET TimeZone = 'UTC'; SET preserve_insertion_order = true; SET asof_loop_join_threshold = 0"
    )
    # In a notebook without widgets DuckDB refuses to touch the bar, and draws none.
    with contextlib.suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar = false")
    return connection


def _run(connection: duckdb.DuckDBPyConnection, query: str, file: object) -> None:
    try:
        connection.execute(query)
    except duckdb.Error as error:
        raise PipelineError(f"{file}: {error}") from error


def _sql(connection: duckdb.DuckDBPyConnection, query: str, file: object) -> duckdb.DuckDBPyRelation:
    try:
        return connection.sql(query)
    except duckdb.Error as error:
        raise PipelineError(f"{file}: {error}") from error


def _read(connection: duckdb.DuckDBPyConnection, query: str, file: object) -> pa.RecordBatchReader:
    relation = _sql(connection, query, file)
    try:
        return relation.to_arrow_reader(_BATCH_ROWS)
    except duckdb.Error as error:
        raise PipelineError(f"{file}: {error}") from error


def _engine() -> str:
    """Digest what every table depends on besides its declaration: the engines and this code."""
    modules = (build_stamps, feature_tables, pipeline_spec, raw_files, served_log)
    files = (*(str(module.__file__) for module in modules), __file__)
    code = (Path(file).read_text(encoding="utf-8") for file in files)
    return _digest(duckdb.__version__, pa.__version__, *code)


def _digest(*parts: str) -> str:
    # Each part's own digest first, so that text cannot move from one part to the next unnoticed.
    return hashlib.sha256(
        "".join(hashlib.sha256(part.encode()).hexdigest() for part in parts).encode()
    ).hexdigest()


def _say_nothing(_: str) -> None:
    return
