"""A repo's shadow: the same definitions over other events, apart from the real tables."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from knownat.contract.workspace import Workspace
from knownat.stores.pipelines import Progress, Rewrite, build_features
from knownat.stores.repo import load_config, registry_file


@contextmanager
def shadow_of(
    workspace: Workspace, rewrite: Rewrite, *, scratch: Path, progress: Progress | None = None
) -> Iterator[Workspace]:
    """Rebuild a workspace's feature tables from rewritten events, in a folder that is dropped afterwards.

    Definitions and registry are copied. Tables that no pipeline makes are the real ones, linked.

    Raises
    ------
    ConfigError, PipelineError, RawFileError, TableError
        If the pipelines cannot be run over the rewritten events.
    """
    shadow = Workspace.at(scratch / workspace.repo.name)
    shadow.repo.mkdir(parents=True)
    try:
        _copy_definitions(workspace, shadow)
        tables = build_features(workspace.repo, output=shadow.data, rewrite=rewrite, progress=progress)
        built = {table.path for table in tables}
        _link_what_was_not_built(workspace, shadow, built)
        yield shadow
    finally:
        shutil.rmtree(shadow.repo)


def _copy_definitions(workspace: Workspace, shadow: Workspace) -> None:
    shutil.copyfile(workspace.repo / "feature_store.yaml", shadow.repo / "feature_store.yaml")
    registry = registry_file(load_config(workspace.repo))
    # A registry that is a server's, or lies elsewhere, is only read: both worlds share it.
    if registry is not None and registry.is_file() and registry.is_relative_to(workspace.repo):
        copied = shadow.repo / registry.relative_to(workspace.repo)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(registry, copied)


def _link_what_was_not_built(workspace: Workspace, shadow: Workspace, built: set[Path]) -> None:
    for source in workspace.data.glob("*"):
        target = shadow.data / source.name
        is_table = source.suffix == ".parquet" or (source.is_dir() and source.name != "events")
        if is_table and target not in built:
            target.symlink_to(source)
