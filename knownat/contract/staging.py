"""Folders on their way to a final name: one that a killed process left behind is removed by the next."""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STAGED = re.compile(r"\.[a-z0-9][a-z0-9._-]{0,63}\.[0-9a-f]{8}")


@contextmanager
def stage_folder(target: Path) -> Iterator[Path]:
    """Give a new folder beside ``target`` to fill and rename; it is dropped if it was not renamed.

    Whoever fills one holds a lock on it, which ends with the process. What nobody holds was left behind
    by a process that was killed, and goes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent):
        _sweep(target.parent)
        staged = target.parent / f".{target.name}.{secrets.token_hex(4)}"
        staged.mkdir()
        held = os.open(staged, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        os.close(held)


def _sweep(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and _STAGED.fullmatch(path.name) and not _is_held(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return True  # published or dropped meanwhile
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
