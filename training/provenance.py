"""Where a release comes from: the commit of the code and the digest of the packages."""

import hashlib
from pathlib import Path

UNKNOWN = "unknown"
_LOCK = "requirements.lock"


def code_commit(folder: Path) -> str:
    """Return the commit checked out around a folder, or ``unknown`` where there is none.

    Git's own files are read, so that a machine without git, such as a slim image, can train.
    """
    git = next((p / ".git" for p in (folder, *folder.parents) if (p / ".git").exists()), None)
    if git is None:
        return UNKNOWN
    if git.is_file():  # a linked worktree names its folder
        git = (git.parent / git.read_text().removeprefix("gitdir:").strip()).resolve()
    try:
        head = (git / "HEAD").read_text().strip()
    except OSError:
        return UNKNOWN
    return _resolve(git, head.removeprefix("ref: ")) if head.startswith("ref: ") else head


def lock_digest(folder: Path) -> str:
    """Return the sha256 of the nearest ``requirements.lock`` above a folder, or ``unknown``."""
    lock = next((p / _LOCK for p in (folder, *folder.parents) if (p / _LOCK).is_file()), None)
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock else UNKNOWN


def _resolve(git: Path, reference: str) -> str:
    shared = git / "commondir"
    folders = [git, (git / shared.read_text().strip()).resolve()] if shared.is_file() else [git]
    for folder in folders:
        if (folder / reference).is_file():
            return (folder / reference).read_text().strip()
        packed = folder / "packed-refs"
        for line in packed.read_text().splitlines() if packed.is_file() else ():
            if line.endswith(f" {reference}"):
                return line.split(" ", 1)[0]
    return UNKNOWN
