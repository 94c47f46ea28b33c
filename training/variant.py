"""A variant of a feature repo: the same files but for a few words, written down beside their reasons."""

import shutil
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from knownat.stores.pipelines import Progress, build_features
from knownat.stores.repo import apply_repo

FILE = "variant.toml"
_NOT_COPIED = ("data", "__pycache__", ".*.swp")

Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Change(_Section):
    """Words that stand once in each of some files, and what stands there instead."""

    files: Text
    """Files below the repo; ``*`` stands for any part of a name."""
    find: Text
    replace: str
    why: Text


class Variant(_Section):
    """``variant.toml``: how a repo differs from another."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    description: Text
    change: Annotated[tuple[Change, ...], Field(min_length=1)]


def read_variant(folder: Path) -> Variant:
    """Read ``variant.toml`` of a folder.

    Raises
    ------
    ConfigError
        With every problem of the file at once.
    """
    source = folder / FILE
    try:
        return Variant.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigError(source, ["no such file; it says how the variant differs"]) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(source, [f"cannot be read as TOML: {error}"]) from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
        raise ConfigError(source, problems) from error


def lay_out_variant(workspace: Workspace, variant: Variant, work: Path) -> Workspace:
    """Copy a repo's definitions below ``work`` and change them; what was built there before is kept.

    Raises
    ------
    ConfigError
        If words to be changed do not stand exactly once in each file that should hold them.
    """
    changed = Workspace.at(work / variant.name / workspace.repo.name)
    if changed.repo.is_dir():
        for old in changed.repo.iterdir():
            if old.name != "data":
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    ignored = shutil.ignore_patterns(*_NOT_COPIED)
    shutil.copytree(workspace.repo, changed.repo, ignore=ignored, dirs_exist_ok=True)
    if problems := [problem for change in variant.change for problem in _apply(change, changed.repo)]:
        raise ConfigError(f"variant '{variant.name}' of {workspace.repo}", problems)
    return changed


def build_variant(workspace: Workspace, *, progress: Progress | None = None) -> None:
    """Build a variant's feature tables and register its definitions."""
    build_features(workspace.repo, progress=progress)
    apply_repo(workspace.repo)


def _apply(change: Change, repo: Path) -> list[str]:
    files = sorted(repo.glob(change.files))
    if not files:
        return [f"no file is called '{change.files}'"]
    problems = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        if (count := text.count(change.find)) != 1:
            where = file.relative_to(repo)
            problems.append(f"{where}: '{change.find}' stands there {count} times; it must stand there once")
        file.write_text(text.replace(change.find, change.replace), encoding="utf-8")
    return problems
