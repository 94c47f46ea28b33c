"""A repo as its files define it now, laid out apart from the registry that serves."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from knownat.stores.build_stamps import Stamps
from knownat.stores.pipeline_spec import pipelines_folder
from knownat.stores.pipelines import Progress, build_features
from knownat.stores.repo import Repo, apply_repo, open_repo
from knownat.stores.settings import read_raw_settings

_DEFINITIONS = frozenset({".py", ".toml", ".sql", ".yaml", ".yml", ".feastignore"})
_NOT_COPIED = frozenset({"data", "__pycache__"})
_SETTINGS = "feature_store.yaml"
_DIGITS = 12


@dataclass(frozen=True)
class Proposal:
    """The proposed repo, opened, and the tables that its pipelines make otherwise than they stand."""

    repo: Repo
    tables: Mapping[str, tuple[str, str]]
    """Of each: the first digits of its sha256 as it stands, and as it was made."""


@contextmanager
def lay_out_proposal(live: Path, *, scratch: Path, progress: Progress | None = None) -> Iterator[Proposal]:
    """Register a repo's files in a registry of their own below ``scratch``, dropped afterwards.

    Tables are the real ones, linked; those whose pipelines changed are built anew, apart. Whatever
    registry and online store the repo is configured with is neither read nor written.

    Raises
    ------
    ConfigError, RepoError
        If the files cannot be applied, or the pipelines cannot be run.
    """
    root = scratch / live.name
    try:
        tables = lay_out_files(live, root, progress=progress)
        settings = root / _SETTINGS
        apply_repo(root, settings=settings)
        yield Proposal(open_repo(root, settings=settings), tables)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def lay_out_files(live: Path, root: Path, *, progress: Progress | None = None) -> dict[str, tuple[str, str]]:
    """Copy what defines a repo, link its data, and build what its pipelines would make otherwise.

    Returns the tables that come out otherwise, as in :class:`Proposal`.
    """
    _copy(live, root)
    (root / _SETTINGS).write_text(yaml.safe_dump(_own_stores(live)), encoding="utf-8")
    return _tables(live, root, progress)


def _own_stores(live: Path) -> dict[str, object]:
    return read_raw_settings(live) | {
        "registry": {"registry_type": "sql", "path": "sqlite:///data/registry.db"},
        "online_store": {
            "type": "knownat.stores.lmdb_online.LmdbOnlineStore",
            "path": "data/online_rows",
        },
    }


def _copy(live: Path, root: Path) -> None:
    """Copy what defines, link what holds data."""
    for folder, names, files in os.walk(live):
        names[:] = [name for name in names if not (name in _NOT_COPIED or name.startswith("."))]
        target = root / Path(folder).relative_to(live)
        target.mkdir(parents=True, exist_ok=True)
        for file in (Path(folder) / name for name in files):
            if file.suffix in _DEFINITIONS or file.name == ".feastignore":
                shutil.copyfile(file, target / file.name)
            else:
                (target / file.name).symlink_to(file)


def _tables(live: Path, root: Path, progress: Progress | None) -> dict[str, tuple[str, str]]:
    data, ours = live / "data", root / "data"
    ours.mkdir(exist_ok=True)
    for source in sorted(data.glob("*")) if data.is_dir() else ():
        if source.suffix == ".parquet" or (source.is_dir() and source.name not in ("events", "online_rows")):
            (ours / source.name).symlink_to(source)
    if not (pipelines_folder(root) / "pipelines.toml").is_file():
        return {}
    # A folder of our own: what is built anew replaces a link, never the table behind it.
    (ours / "events").mkdir()
    for event in (data / "events").glob("*.parquet"):
        (ours / "events" / event.name).symlink_to(event)
    if (data / "built.json").is_file():
        shutil.copyfile(data / "built.json", ours / "built.json")
    stamps = Stamps(data)
    stood = {t.name: stamps.sha256(data / t.path.name) or "" for t in build_features(root, progress=progress)}
    made = {name: Stamps(ours).sha256(ours / f"{name}.parquet") or "" for name in stood}
    return {name: (was[:_DIGITS], made[name][:_DIGITS]) for name, was in stood.items() if was != made[name]}
