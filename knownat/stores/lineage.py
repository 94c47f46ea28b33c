"""Where a view's rows come from: its table, the events its SQL reads, the raw files behind them."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import duckdb
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileSource

from knownat.errors import ConfigError
from knownat.stores.pipeline_spec import PipelineSpec, pipelines_folder, read_pipelines
from knownat.stores.repo import Repo
from knownat.stores.sources import batch_source

_log = logging.getLogger(__name__)

_RAW = "raw_"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A view's way back to what happened; what a view does not have is empty."""

    table: str = ""
    """The source's path, as the definition has it."""
    described: str = ""
    known_at: str = ""
    """The column that says when a row became known; empty where none does."""
    sql: str = ""
    """The query that makes the table, seen from the repo."""
    events: Mapping[str, str] = field(default_factory=dict)
    """Events that the query reads, and the expression that says when each became known."""
    raw: tuple[str, ...] = ()
    """Raw files behind the events."""
    added_from: str = ""
    """The CSV that it was added from."""
    views: tuple[str, ...] = ()
    """Views that an on-demand view reads."""
    inputs: tuple[str, ...] = ()
    """What the question itself must bring."""


def trace(repo: Repo, view: FeatureView) -> Origin:
    """Trace a view back to its raw events, as far as the repo's pipelines are declared.

    Raises
    ------
    RepoError
        If the view has no source.
    """
    source = batch_source(view)
    path = source.path if isinstance(source, FileSource) else (source.name or "")
    found = Origin(
        table=path,
        described=source.description or "",
        known_at=source.created_timestamp_column or "",
        added_from=view.tags.get("added_from", ""),
    )
    try:
        spec = read_pipelines(repo.path)
    except ConfigError:
        return found
    feature = next((each for each in spec.feature if path == f"data/{each.name}.parquet"), None)
    if feature is None:
        return found
    events = _reads(repo, feature.sql) & {event.name for event in spec.event}
    known = {event.name: event.known_at for event in spec.event if event.name in events}
    return Origin(
        table=path,
        described=found.described,
        known_at=found.known_at,
        sql=f"pipelines/{feature.sql}",
        events=known,
        raw=tuple(sorted(_raw_files(repo, spec, known))),
    )


def _raw_files(repo: Repo, spec: PipelineSpec, events: Mapping[str, str]) -> set[str]:
    """Follow events and staging tables down to the raw files they read."""
    queries = {table.name: table.sql for table in (*spec.staging, *spec.event)}
    waiting, seen, raw = list(events), set(events), set()
    while waiting:
        for name in _reads(repo, queries[waiting.pop()]):
            if name.startswith(_RAW) and name.removeprefix(_RAW) in spec.raw:
                declared = spec.raw[name.removeprefix(_RAW)]
                raw.add(f"{declared.package}: {declared.path}" if declared.package else declared.path)
            elif name in queries and name not in seen:
                seen.add(name)
                waiting.append(name)
    return raw


def _reads(repo: Repo, sql: str) -> set[str]:
    """Name the tables that a query reads; it is only parsed, for none of them need be there."""
    query = (pipelines_folder(repo.path) / sql).read_text(encoding="utf-8")
    with duckdb.connect() as connection:
        (tree,) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0]
    parsed = json.loads(tree)
    if parsed["error"]:
        _log.warning("pipelines/%s cannot be parsed: %s", sql, parsed.get("error_message"))
    return set(_tables(parsed))


def _tables(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield node["table_name"]
        for part in node.values():
            yield from _tables(part)
    elif isinstance(node, list):
        for part in node:
            yield from _tables(part)
