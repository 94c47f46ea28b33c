"""A Feast repo, opened with absolute paths and never created by looking at it."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from knownat.errors import ConfigError, KnownatError, RepoError
from knownat.stores.settings import FILE_VARIABLE, SQLITE, read_settings, settings_file

# Feast costs seconds to import; applying happens in a child process, so this one may go without.
if TYPE_CHECKING:
    from feast import FeatureStore
    from feast.repo_config import RepoConfig


@dataclass(frozen=True)
class Repo:
    """One opened feature repo."""

    path: Path
    store: "FeatureStore"


@dataclass(frozen=True)
class Applied:
    """What the registry holds after a successful apply, and what Feast had to say about it."""

    project: str
    entities: tuple[str, ...]
    feature_views: tuple[str, ...]
    on_demand_views: tuple[str, ...]
    feature_services: tuple[str, ...]
    log: str

    @property
    def counted(self) -> str:
        """How many of each kind there are, in words.

        >>> Applied("shop", ("customer",), ("orders", "visits"), (), ("basket",), "").counted
        '1 entity, 2 feature views, 0 on-demand views, 1 feature service'
        """
        kinds = (
            ("entity", "entities", self.entities),
            ("feature view", "feature views", self.feature_views),
            ("on-demand view", "on-demand views", self.on_demand_views),
            ("feature service", "feature services", self.feature_services),
        )
        return ", ".join(f"{len(names)} {one if len(names) == 1 else many}" for one, many, names in kinds)


def open_repo(path: Path, *, settings: Path | None = None) -> Repo:
    """Open a repo for reading; every path in it is absolute, wherever the process runs.

    ``settings`` is another file than the one that configures the repo.

    Raises
    ------
    RepoError
        If there is no repo, or its registry is missing, unreadable or empty.
    ConfigError
        If ``feature_store.yaml`` cannot be used.
    """
    root = _folder(path, settings)
    config = load_config(root, settings)
    check_registry_file(config)
    from feast import FeatureStore

    store = FeatureStore(repo_path=str(root), config=config)
    if not store.list_all_feature_views():
        raise RepoError(f"The registry of {root} has no views. Run `knownat apply --repo {root}`.")
    return Repo(root, store)


def apply_repo(path: Path, *, allow_breaking: bool = False, settings: Path | None = None) -> Applied:
    """Register a repo's definitions, or refuse and change nothing.

    Feast imports every file of the repo as a top-level module and changes the working folder, so
    this happens in a process of its own. ``settings`` is another file than the one that configures
    the repo.

    Raises
    ------
    RepoError
        If files define what Feast does not see, if the registry is unreadable or has lost its
        content, or if a feature changes its type (unless ``allow_breaking``).
    ConfigError
        If ``feature_store.yaml`` cannot be used.
    """
    root = _folder(path, settings)
    with tempfile.TemporaryDirectory(prefix="knownat-apply-") as scratch:
        answer = Path(scratch) / "answer.json"
        # -P keeps the working folder off the module path: a repo's `profile.py` must not become
        # the standard library's.
        command = [sys.executable, "-P", "-m", "knownat.stores.registration", str(root), str(answer)]
        child = subprocess.run(
            [*command, *(["--allow-breaking"] if allow_breaking else [])],
            capture_output=True,
            text=True,
            check=False,
            cwd=root,
            # It starts in the repo's folder, from where a relative path would name another file.
            env={**os.environ, "NO_COLOR": "1", FILE_VARIABLE: str(settings or settings_file(root))},
        )
        said = json.loads(answer.read_text()) if answer.exists() else {}
    if "problems" in said:
        raise ConfigError(root, said["problems"])
    if "error" in said:
        raise RepoError(said["error"])
    if child.returncode or not said:
        raise RepoError(f"The definitions of {root} cannot be applied:\n{child.stderr.strip()[-2_000:]}")
    return Applied(
        project=said["project"],
        entities=tuple(said["entities"]),
        feature_views=tuple(said["feature_views"]),
        on_demand_views=tuple(said["on_demand_views"]),
        feature_services=tuple(said["feature_services"]),
        log=child.stdout,
    )


def load_config(root: Path, settings: Path | None = None) -> "RepoConfig":
    """Read ``feature_store.yaml`` with every path made absolute from the repo's folder.

    Raises
    ------
    ConfigError
        If the file is no valid configuration.
    """
    from feast.errors import FeastModuleImportError, FeastRegistryNotSetError
    from feast.repo_config import FeastConfigError, RepoConfig
    from pydantic import ValidationError

    file = settings or settings_file(root)
    try:
        config = RepoConfig(**read_settings(root, file))
        config.repo_path = root
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(file, problems) from error
    except FeastModuleImportError as error:
        raise ConfigError(file, [f"{error}. Install the extra that has it."]) from error
    except (FeastConfigError, FeastRegistryNotSetError) as error:
        raise ConfigError(file, [str(error)]) from error
    return config


def registry_file(config: "RepoConfig") -> Path | None:
    """Return the file of an embedded registry; None for one that is a server's."""
    path: str = config.registry.path
    if path.startswith(SQLITE):
        return Path(path.removeprefix(SQLITE))
    return None if "://" in path else Path(path)


def check_registry_file(config: "RepoConfig") -> None:
    """Check that an embedded registry is there and whole, without creating it.

    Raises
    ------
    RepoError
        If it is missing, empty or damaged.
    """
    file = registry_file(config)
    if file is None:
        return
    if not file.exists() or not file.stat().st_size:
        state = "empty" if file.exists() else "missing"
        raise RepoError(f"The registry {file} is {state}. Run `knownat apply --repo {config.repo_path}`.")
    if not config.registry.path.startswith(SQLITE):
        return
    try:
        with sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True) as connection:
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        connection.close()
    except sqlite3.DatabaseError as error:
        state = str(error)
    if state != "ok":
        raise RepoError(f"The registry {file} is damaged ({state}). Restore it from a backup.")


def _folder(path: Path, settings: Path | None = None) -> Path:
    root = path.expanduser().resolve()
    if not (settings or settings_file(root)).is_file():
        raise RepoError(f"{root} has no feature_store.yaml. Name the feature repo with --repo.")
    return root


def describe(error: KnownatError) -> dict[str, object]:
    """Put an error into words that survive the way between two processes."""
    return {"problems": list(error.problems)} if isinstance(error, ConfigError) else {"error": str(error)}
