"""Which releases there are: whole ones only, in the order they were made."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from knownat.contract.release import MANIFEST, Release, read_release
from knownat.contract.workspace import Workspace


def list_releases(workspace: Workspace, model: str | None = None) -> Iterator[Release]:
    """Read every release of a workspace, or of one model, oldest first.

    A folder that is being staged, or was left behind by a run that was killed, is not a release.

    Raises
    ------
    ReleaseError
        If a release was changed after it was made.
    """
    folders = [workspace.releases / model] if model else _folders(workspace)
    manifests = sorted(path for folder in folders for path in folder.glob(f"*/{MANIFEST}"))
    releases = (read_release(path.parent) for path in manifests if not path.parent.name.startswith("."))
    yield from sorted(releases, key=_made)


def _made(release: Release) -> tuple[str, datetime, int, str]:
    manifest = release.manifest
    number = int(manifest.version) if manifest.version.isdecimal() else 0
    return manifest.model, manifest.created_at, number, manifest.version


def _folders(workspace: Workspace) -> list[Path]:
    if not workspace.releases.is_dir():
        return []
    return sorted(path for path in workspace.releases.iterdir() if path.is_dir() and path.name[0] != ".")
