"""A repo's ``feature_store.yaml`` as plain settings, every path in it absolute. Free of Feast."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from knownat.errors import ConfigError

SQLITE = "sqlite:///"
# Feast's own variable: its command and ours must not read two files.
FILE_VARIABLE = "FEAST_FS_YAML_FILE_PATH"

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def settings_file(root: Path) -> Path:
    """Return the file that configures a repo: ``feature_store.yaml``, or the one Feast was told."""
    return Path(os.environ.get(FILE_VARIABLE) or root / "feature_store.yaml").absolute()


def read_settings(root: Path, file: Path | None = None) -> dict[str, Any]:
    """Read a repo's settings; relative paths start at the repo's folder, wherever the process runs.

    ``file`` is another file than the one that configures the repo.

    Raises
    ------
    ConfigError
        If the file is missing, is no YAML, or holds no settings.
    """
    return _absolute(read_raw_settings(root, file), root)


def read_raw_settings(root: Path, file: Path | None = None) -> dict[str, Any]:
    """Read a repo's settings as they stand in the file, environment variables filled in.

    Raises
    ------
    ConfigError
        If the file is missing, is no YAML, or holds no settings.
    """
    file = file or settings_file(root)
    try:
        raw = yaml.safe_load(os.path.expandvars(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(file, [str(error)]) from error
    if not isinstance(raw, dict):
        raise ConfigError(file, ["is no mapping of settings"])
    # An address that was never filled in would be looked up as it stands.
    if unset := sorted({name for text in _texts(raw) for name in _VARIABLE.findall(text)}):
        raise ConfigError(
            file, [f"names the environment variable {name}, which is not set" for name in unset]
        )
    return raw


def _texts(settings: object) -> Iterator[str]:
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from _texts(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _texts(value)


def _absolute(raw: Mapping[str, Any], root: Path) -> dict[str, Any]:
    settings = dict(raw)
    registry = settings.get("registry")
    if isinstance(registry, str):
        settings["registry"] = _absolute_path(registry, root)
    elif isinstance(registry, dict) and isinstance(registry.get("path"), str):
        settings["registry"] = registry | {"path": _absolute_path(registry["path"], root)}
    online = settings.get("online_store", "sqlite")
    online = {"type": online} if isinstance(online, str) else online
    if isinstance(online, dict):
        path = {"path": _absolute_path(online["path"], root)} if isinstance(online.get("path"), str) else {}
        settings["online_store"] = online | path
    # Unless told so, Feast's own materialize reads by event time: what nobody knew yet goes online.
    materialization = settings.get("materialization") or {}
    if isinstance(materialization, dict):
        settings["materialization"] = {"pull_latest_features": True} | materialization
    return settings


def _absolute_path(path: str, root: Path) -> str:
    if path.startswith(SQLITE):
        return SQLITE + str(root / path.removeprefix(SQLITE))
    return path if "://" in path else str(root / path)
