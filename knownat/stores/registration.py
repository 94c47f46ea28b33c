"""Register a repo's definitions from a process of its own: ``python -m knownat.stores.registration``.

Only ``knownat.stores.repo.apply_repo`` starts it. It writes its answer as JSON into a file, because
Feast and the repo's files own standard output.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from feast import FeatureStore
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig
from feast.repo_contents import RepoContents
from feast.repo_operations import _get_repo_contents, apply_total_with_repo_instance, get_repo_files

from knownat.contract.push_plan import write_push_plan
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, KnownatError, RepoError
from knownat.stores.definitions import Definition, compare_definitions, find_definitions
from knownat.stores.push_sources import compile_push_plan
from knownat.stores.repo import check_registry_file, describe, load_config, registry_file
from knownat.stores.sources import parquet_files

_NO_ENTITY = "__dummy"
_SPARK = "knownat.stores.spark_offline.SparkAsOfOfflineStore"
_SIDECAR = "registry.applied.json"


def main() -> int:
    """Apply the repo named on the command line and write the answer."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("repo", type=Path)
    arguments.add_argument("answer", type=Path)
    arguments.add_argument("--allow-breaking", action="store_true")
    given = arguments.parse_args()
    try:
        answer = register(given.repo, allow_breaking=given.allow_breaking)
    except KnownatError as error:
        given.answer.write_text(json.dumps(describe(error)))
        return 1
    given.answer.write_text(json.dumps(answer))
    return 0


def register(root: Path, *, allow_breaking: bool) -> dict[str, object]:
    """Register everything the repo's files define, after every check has passed.

    Raises
    ------
    ConfigError
        If definitions are not seen, have no data, or change a type; all problems at once.
    RepoError
        If the registry is unreadable or has lost its content.
    """
    config = load_config(root)
    lost = _registry_lost(config, root)
    if lost:
        raise RepoError(lost)
    os.chdir(root)
    sys.path.append(str(root))
    found = find_definitions(get_repo_files(root), root)
    unreadable = [f"{item.place}: {item.problem}" for item in found if item.problem]
    if unreadable:
        raise ConfigError(root, unreadable)
    contents = _get_repo_contents(root, config.project, config)
    problems = compare_definitions(found, _defined(contents)) + _missing_data(contents, config)
    store = FeatureStore(repo_path=str(root), config=config)
    if not allow_breaking:
        problems += _broken_types(contents, store)
    if problems:
        raise ConfigError(root, problems)
    apply_total_with_repo_instance(store, config.project, store.registry, contents, False)
    _ensure_online_tables(store)
    names = registered(store)
    if unseen := compare_definitions(found, names):
        raise ConfigError(root, unseen)
    write_push_plan(Workspace.at(root).push_sources, compile_push_plan(store))
    _remember(root, config, store)
    kinds = {"entities": "entity", "feature_views": "feature view", "on_demand_views": "on-demand view"}
    kinds |= {"feature_services": "feature service"}
    return {"project": config.project} | {
        key: sorted(d.name for d in names if d.kind == kind) for key, kind in kinds.items()
    }


def registered(store: FeatureStore) -> set[Definition]:
    """List what a registry holds."""
    return _definitions(
        store.list_entities(),
        [*store.list_batch_feature_views(), *store.list_stream_feature_views()],
        store.list_on_demand_feature_views(),
        store.list_feature_services(),
    )


def _defined(contents: RepoContents) -> set[Definition]:
    return _definitions(
        contents.entities,
        [*contents.feature_views, *contents.stream_feature_views],
        contents.on_demand_feature_views,
        contents.feature_services,
    )


def _definitions(*listed: Iterable[object]) -> set[Definition]:
    kinds = ("entity", "feature view", "on-demand view", "feature service")
    named = {
        Definition(kind, str(getattr(item, "name", "")))
        for kind, items in zip(kinds, listed, strict=True)
        for item in items
    }
    return named - {Definition("entity", _NO_ENTITY)}


def _registry_lost(config: RepoConfig, root: Path) -> str:
    """Say what is wrong if a registry that had content has none, or cannot be read."""
    file = registry_file(config)
    sidecar = root / "data" / _SIDECAR
    had = _applied_before(sidecar).get(_registry_name(config, root), 0)
    advice = f"Restore it from a backup; to start afresh on purpose, delete {sidecar} and {file}."
    if file is not None and file.exists() and file.stat().st_size:
        check_registry_file(config)
    elif file is not None and not had and not file.exists():
        return ""
    elif file is not None:
        return f"The registry {file} is missing or empty, but {had} views were applied before. {advice}"
    views = FeatureStore(repo_path=str(root), config=config).list_all_feature_views()
    return "" if views or not had else f"The registry has no views, but {had} were applied before. {advice}"


def _missing_data(contents: RepoContents, config: RepoConfig) -> list[str]:
    problems = {}
    for view in contents.feature_views:
        source = view.batch_source
        if source is None or source.name in problems:
            continue
        if not isinstance(source, FileSource) and config.offline_store.type == _SPARK:
            continue  # a table of Spark's is looked up when it is read
        try:
            parquet_files(source, config)
        except RepoError as error:
            problems[source.name] = str(error)
    return list(problems.values())


def _broken_types(contents: RepoContents, store: FeatureStore) -> list[str]:
    live = {
        (view.name, feature.name): feature.dtype
        for view in store.list_all_feature_views()
        for feature in view.features
    }
    wanted = [*contents.feature_views, *contents.stream_feature_views, *contents.on_demand_feature_views]
    return [
        f"'{view.name}:{feature.name}' is {live[view.name, feature.name]} in the registry and becomes "
        f"{feature.dtype}: what is stored and trained no longer fits. Give the feature a new name, or apply "
        "with --allow-breaking."
        for view in wanted
        for feature in view.features
        if live.get((view.name, feature.name), feature.dtype) != feature.dtype
    ]


def _ensure_online_tables(store: FeatureStore) -> None:
    # Feast creates tables only for definitions that changed, so a deleted online store would stay away.
    views = [*store.list_batch_feature_views(), *store.list_stream_feature_views()]
    store.provider.update_infra(store.project, [], [v for v in views if v.online], [], [], partial=True)


def _remember(root: Path, config: RepoConfig, store: FeatureStore) -> None:
    sidecar = root / "data" / _SIDECAR
    sidecar.parent.mkdir(parents=True, exist_ok=True)
    applied = _applied_before(sidecar) | {_registry_name(config, root): len(store.list_all_feature_views())}
    staged = sidecar.with_suffix(".staged")
    staged.write_text(json.dumps({"project": store.project, "views": applied}, indent=2) + "\n")
    staged.replace(sidecar)


def _applied_before(sidecar: Path) -> dict[str, int]:
    """Tell how many views each registry of the repo had; another configuration has its own."""
    views = json.loads(sidecar.read_text())["views"] if sidecar.exists() else {}
    return views if isinstance(views, dict) else {}


def _registry_name(config: RepoConfig, root: Path) -> str:
    file = registry_file(config)
    if file is not None:
        return str(file.relative_to(root) if file.is_relative_to(root) else file)
    # A server's address may hold a password, which stays out of the file.
    return re.sub(r"//[^/@]*@", "//", str(config.registry.path))


if __name__ == "__main__":
    sys.exit(main())
