"""What can be silently wrong with a feature repo; each check names one thing and the next step.

A check is a function from an opened repo to the problems it found. None of them changes anything.
"""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast.feature_view import FeatureView
from feast.repo_operations import get_repo_files

from knownat.contract.release import read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, KnownatError
from knownat.stores.added_definition import PRIVATE, SHARING
from knownat.stores.definitions import compare_definitions, find_definitions
from knownat.stores.materialization import online_views, watermarks
from knownat.stores.offline import AsOfOfflineStoreConfig
from knownat.stores.online_checks import (
    check_batch_engine,
    check_online_store,
    check_online_values,
    check_stored_rows,
)
from knownat.stores.plan import compile_read_plan
from knownat.stores.registration import registered
from knownat.stores.repo import Repo
from knownat.stores.services import take_apart
from knownat.stores.sources import parquet_files

_MICROSECONDS = pa.timestamp("us", tz="UTC")

Check = Callable[[Repo], Iterator[str]]


@dataclass(frozen=True)
class Finding:
    """What one check found; no problems means that all is well."""

    check: str
    problems: tuple[str, ...]


def check_libgomp() -> list[str]:
    """LightGBM links the system's OpenMP library, which a slim image lacks."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return [
            "libgomp.so.1 is not installed, so LightGBM cannot load. On Debian: apt-get install libgomp1."
        ]
    return []


def check_definitions(repo: Repo) -> Iterator[str]:
    """Everything the repo's files define is registered, and nothing else is."""
    found = find_definitions(get_repo_files(repo.path), repo.path)
    yield from compare_definitions(found, registered(repo.store))


def check_offline_store(repo: Repo) -> Iterator[str]:
    """The offline store conserves rows and knows the created cut-off."""
    if not isinstance(repo.store.config.offline_store, AsOfOfflineStoreConfig):
        kind = type(repo.store.config.offline_store).__name__
        yield (
            f"offline_store is {kind}, which can drop training rows or read ahead of time. In "
            "feature_store.yaml set offline_store.type to knownat.stores.offline.AsOfOfflineStore."
        )


def check_serving_flag(repo: Repo) -> Iterator[str]:
    """Reads go on while a view is being materialized."""
    if not getattr(repo.store.config.registry, "serve_features_while_materializing", False):
        yield (
            "registry.serve_features_while_materializing is off: reads fail during a materialization, and "
            "for ever after a killed one. Set it to true in feature_store.yaml."
        )


def check_created_timestamps(repo: Repo) -> Iterator[str]:
    """Every source says when its values became known."""
    for view in _views(repo):
        source = view.batch_source
        if source is not None and not source.created_timestamp_column:
            yield (
                f"view '{view.name}': source '{source.name}' has no created_timestamp_column, so every "
                "value is taken as known when it happened. Name the column that says when it became known."
            )


def check_private_views(repo: Repo) -> Iterator[str]:
    """Nobody builds on another's private view, which may change any day."""
    private = {view.name: view.owner for view in _views(repo) if view.tags.get(SHARING) == PRIVATE}
    for service in repo.store.list_feature_services():
        read = {used.view.name for used in take_apart(repo.store, service.name).views} & private.keys()
        for name in sorted(view for view in read if private[view] != service.owner):
            yield (
                f"feature service '{service.name}' of {service.owner or 'nobody'} reads '{name}', which is "
                f"private to {private[name]}. Ask them to share it: knownat share {name}."
            )


def check_tables(repo: Repo) -> Iterator[str]:
    """Times in the tables are UTC microseconds, and never null."""
    for view in _views(repo):
        source = view.batch_source
        if source is None:
            continue
        columns = [c for c in (source.timestamp_field, source.created_timestamp_column) if c]
        names = {new: old for old, new in (source.field_mapping or {}).items()}
        for file in parquet_files(source, repo.store.config):
            schema = pq.read_schema(file)
            for column in (names.get(c, c) for c in columns):
                yield from _time_problems(f"{file}, column '{column}'", schema, column, file)


def check_on_demand_bodies(repo: Repo) -> Iterator[str]:
    """Every service compiles into a read plan whose on-demand bodies need nothing but their inputs."""
    for service in repo.store.list_feature_services():
        try:
            compile_read_plan(repo, service.name)
        except ConfigError as error:
            yield from error.problems


def check_online_rows(repo: Repo) -> Iterator[str]:
    """Every online view has been materialized into the store that is there now."""
    filled = watermarks(repo)
    if missing := [view.name for view in online_views(repo) if view.name not in filled]:
        yield f"views {missing} have no online rows. Run `knownat materialize`."


def check_releases(repo: Repo) -> Iterator[str]:
    """Every deployed release is whole, and is the one that was promoted."""
    workspace = Workspace.at(repo.path)
    for model, deployed in read_deployment(workspace.deployment).models.items():
        versions = [deployed.champion, deployed.challenger, *deployed.shadow, *deployed.pinned]
        for version in filter(None, versions):
            try:
                read_release(workspace.releases / model / version.version, digest=version.digest)
            except KnownatError as error:
                yield str(error)


CHECKS: tuple[Check, ...] = (
    check_definitions,
    check_offline_store,
    check_serving_flag,
    check_created_timestamps,
    check_private_views,
    check_tables,
    check_on_demand_bodies,
    check_online_store,
    check_batch_engine,
    check_online_rows,
    check_stored_rows,
    check_online_values,
    check_releases,
)


def examine(repo: Repo) -> Iterator[Finding]:
    """Run every check in turn; a check that cannot finish is a problem, not an end."""
    for check in CHECKS:
        title = (check.__doc__ or check.__name__).split("\n")[0].rstrip(".")
        try:
            problems = tuple(check(repo))
        except KnownatError as error:
            problems = (str(error),)
        yield Finding(title, problems)


def _views(repo: Repo) -> list[FeatureView]:
    return [*repo.store.list_batch_feature_views(), *repo.store.list_stream_feature_views()]


def _time_problems(where: str, schema: pa.Schema, column: str, file: object) -> Iterator[str]:
    if column not in schema.names:
        yield f"{where} is not there. Correct the source, or run `knownat features build`."
        return
    kind = schema.field(column).type
    if kind != _MICROSECONDS:
        yield (
            f"{where} is {kind}; the platform's times are timestamp[us, tz=UTC]. Nanoseconds break Feast's "
            "own stores, and pandas writes them: cast before writing."
        )
    if nulls := pc.sum(pc.is_null(pq.read_table(file, columns=[column])[column])).as_py():
        yield f"{where} is null in {nulls} rows: nobody can say when they were known. Give every row a time."
