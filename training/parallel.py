"""Several models at once, each in a process of its own, with their progress on stderr."""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from knownat.clock import open_clock
from knownat.contract.release import Release, read_release
from knownat.contract.workspace import Workspace

Told = tuple[str, str, int, int]
"""Model, what is being done, steps done, steps in all."""


def train_all(
    workspace: Workspace, models: Sequence[str], *, version: str | None, clock: str
) -> list[Release]:
    """Train models side by side, as many as there are processors, and return their releases in order.

    Nothing is shared but the folder they write to: each model joins its own examples. Every model
    is tried before the first error is raised.
    """
    # Spawned, never forked: LightGBM hangs in a fork taken after it has run.
    context = multiprocessing.get_context("spawn")
    queue: SimpleQueue[Told | None] = context.SimpleQueue()
    workers = min(len(models), os.cpu_count() or 1)
    with (
        _shown(queue, models),
        ProcessPoolExecutor(workers, context, initializer=_listen_to, initargs=(queue,)) as pool,
    ):
        futures = [pool.submit(_train_one, workspace.repo, model, version, clock) for model in models]
    return [read_release(Path(path), digest=digest) for path, digest in (f.result() for f in futures)]


class _Teller:
    """Where a worker process sends its progress; set once, when the process starts."""

    queue: "SimpleQueue[Told | None] | None" = None


def _listen_to(queue: "SimpleQueue[Told | None]") -> None:
    _Teller.queue = queue


def _train_one(repo: Path, model: str, version: str | None, clock: str) -> tuple[str, str]:
    from training.pipeline import train

    def report(stage: str, done: int, total: int) -> None:
        if _Teller.queue is not None:
            _Teller.queue.put((model, stage, done, total))

    release = train(Workspace.at(repo), model, clock=open_clock(clock), version=version, progress=report)
    return str(release.path), release.digest


@contextmanager
def _shown(queue: "SimpleQueue[Told | None]", models: Sequence[str]) -> Iterator[None]:
    columns = (TextColumn("{task.fields[model]}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        tasks = {model: bar.add_task("start", total=None, model=model) for model in models}

        def follow() -> None:
            while (told := queue.get()) is not None:
                model, stage, done, total = told
                bar.update(tasks[model], description=stage, completed=done, total=total or None)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            queue.put(None)
            thread.join()
