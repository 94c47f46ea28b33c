"""Materialize a repo in steps, in a process that dies where a test wants it to.

Children come from a server that has Feast imported already, so that a test can afford to kill many.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from knownat.clock import from_us
from knownat.stores.materialization import materialize
from knownat.stores.repo import Repo, open_repo

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.faults.materializer"])


def started(repo: Path, until_us: Sequence[int], dies_at: int = -1) -> ForkServerProcess:
    """Start a child that materializes step by step and kills itself at an operation of its store."""
    child = _FORKS.Process(target=run, args=(str(repo), list(until_us), dies_at), daemon=True)
    child.start()
    return child


def run(repo: str, until_us: Sequence[int], dies_at: int) -> None:
    opened = open_repo(Path(repo))
    if dies_at >= 0:
        _die_at(opened, dies_at)
    for us in until_us:
        step(opened, from_us(us))


def step(repo: Repo, until: datetime) -> None:
    materialize(repo, until=until)


def _die_at(repo: Repo, count: int) -> None:
    """Let the count-th call of a writing operation kill this process: even before it, odd after it."""
    rows = repo.store.provider.online_store.row_store(repo.store.config, create=True)
    calls = iter(range(1_000_000))

    def deadly(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number = next(calls)
            if 2 * number == count:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = operation(*args, **kwargs)
            if 2 * number + 1 == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    for name in ("write", "set_watermark"):
        setattr(rows, name, deadly(getattr(rows, name)))
