"""Several workers on one socket: started together, restarted when one dies, drained together.

The socket is shared, not one each: what a dying worker had not accepted, another one does.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from types import FrameType

from knownat.errors import KnownatError
from serving.worker import Sockets, WorkerConfig, run_worker

_logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LOOK_SECONDS = 0.2
# A worker drains, finishes its last requests and seals its log.
_STOP_SECONDS = 90.0

Versions = Mapping[str, str]


def next_pause(pause: float, *, served: bool) -> float:
    """How many seconds to wait before a worker is started again: twice as long while none comes up."""
    return _FIRST_PAUSE if served else min(pause * 2, _LONGEST_PAUSE)


class WorkerFailed(KnownatError):
    """A worker could not start, or did not end as it was told."""


class _Worker:
    """One process, what it said, and when it may be started again after its end."""

    def __init__(self, config: WorkerConfig, sockets: Sockets) -> None:
        self._given = (config, sockets)
        self._pause = _FIRST_PAUSE
        self.start()

    def start(self) -> None:
        """Start the process; it says either which versions it serves, or why it cannot."""
        self.versions: Versions | None = None
        self.problem = ""
        self.again_at: float | None = None
        # Spawned, never forked: a fork after OpenMP has run hangs.
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(*self._given, theirs))
        self.process.start()
        theirs.close()

    def listen(self) -> None:
        """Take in what it said."""
        while self.line.poll():
            try:
                told = self.line.recv()
            except EOFError:
                return
            if isinstance(told, str):
                self.problem = told
            else:
                self.versions = told

    def note_end(self) -> None:
        """Plan when to start it again: soon at first, ever later while it does not come up."""
        self._pause = next_pause(self._pause, served=self.versions is not None)
        self.again_at = time.monotonic() + self._pause
        self.line.close()

    def tell(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.process.is_alive() and self.process.pid is not None:
            os.kill(self.process.pid, number)

    def stop(self, deadline: float) -> int:
        """Wait for its end and return its code; past the deadline it is killed."""
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.line.close()
        return self.process.exitcode or 0


class Supervisor:
    """Keeps a number of workers running until it is told to stop."""

    def __init__(
        self, config: WorkerConfig, sockets: Sequence[Sockets], *, on_ready: Callable[[Versions], None]
    ) -> None:
        self._config = config
        self._sockets = sockets
        self._on_ready = on_ready
        self._workers: list[_Worker] = []
        self._announced = False
        self._stopping = False

    def run(self) -> None:
        """Start the workers, and return once all of them have drained and ended with 0.

        Raises
        ------
        WorkerFailed
            If one cannot start at first, or one did not end with 0.
        """
        with self._signals():
            try:
                self._workers = [_Worker(self._config, sockets) for sockets in self._sockets]
                while not self._stopping:
                    self._look()
                    self._announce()
            finally:
                codes = self._stop()
        if any(codes):
            raise WorkerFailed(f"The workers ended with {codes}; the log says why.")

    def _look(self) -> None:
        alive = [worker for worker in self._workers if worker.again_at is None]
        # A dead worker's line is readable for ever, so it is looked at once.
        wait([worker.line for worker in alive] + [w.process.sentinel for w in alive], _LOOK_SECONDS)
        for worker in self._workers:
            if worker.again_at is not None:
                if time.monotonic() >= worker.again_at:
                    worker.start()
                continue
            worker.listen()
            if not worker.process.is_alive():
                self._note_end(worker)

    def _note_end(self, worker: _Worker) -> None:
        if not self._announced:
            raise WorkerFailed(
                worker.problem or f"A worker ended with {worker.process.exitcode} at its start."
            )
        _logger.error("A worker ended with %s; it is started again.", worker.process.exitcode)
        worker.note_end()

    def _announce(self) -> None:
        versions = [worker.versions for worker in self._workers]
        if not self._announced and None not in versions:
            self._announced = True
            self._on_ready(versions[0] or {})

    def _stop(self) -> list[int]:
        running = [worker for worker in self._workers if worker.again_at is None]
        for worker in running:
            worker.tell(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        return [worker.stop(deadline) for worker in running]

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def told(number: int, _: FrameType | None) -> None:
            if self._stopping:
                # The second time cuts the drain short.
                for worker in self._workers:
                    worker.tell(number)
            self._stopping = True

        before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _work(config: WorkerConfig, sockets: Sockets, line: Connection) -> None:
    """Be a worker: tell the supervisor that it serves or why not, and stop when that is gone."""
    # A Ctrl-C is for the supervisor, which tells each worker once.
    os.setpgrp()
    logging.basicConfig(
        level=logging.INFO if config.verbose else logging.WARNING,
        format=f"%(asctime)s %(levelname)s [{os.getpid()}] %(name)s: %(message)s",
    )
    try:
        run_worker(config, sockets, on_ready=line.send, leash=line.fileno())
    except KnownatError as error:
        line.send(str(error))
        raise SystemExit(2) from None
