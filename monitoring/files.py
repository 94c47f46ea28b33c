"""Files that readers meet whole, and locks that let one run of a model write at a time."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def staged_beside(path: Path) -> Path:
    """Name a file beside another, to be renamed over it once it is whole."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = staged_beside(path)
    try:
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait for every other run in this folder, and hold them off; a killed run lets go by itself."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
