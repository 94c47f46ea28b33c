"""Trials without the wait: a small process, forked at the start, that forks one trial after another.

A spawned trial costs an interpreter and its imports, half a CPU second, before it looks at a release; a
forked one has them. A fork is safe only before a library has run OpenMP, so the room is opened before
the first model is loaded, and never loads one itself.
"""

import contextlib
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

from knownat.errors import ReleaseError
from knownat.scoring.trial import LIMITS, TrialLimits, how_it_ended, stopped, trial_load, try_to_load

_logger = logging.getLogger(__name__)
_MOST_BYTES = 1 << 20
_READ_BYTES = 1 << 16


class TrialRoom:
    """Try releases in processes of their own; use :func:`open_trial_room`."""

    def __init__(self, pid: int, line: socket.socket, limits: TrialLimits) -> None:
        self._pid = pid
        self._limits = limits
        self._line = line
        self._one_at_a_time = threading.Lock()
        self._stopped = False

    def try_load(self, path: Path, digest: str | None) -> None:
        """Load a release and score its golden rows in a forked process with limits.

        Raises
        ------
        ReleaseError
            If the release is refused, the process aborts, hangs, or outgrows its memory, or the room is
            stopped.
        """
        with self._one_at_a_time:
            problem = self._ask({"path": str(path), "digest": digest})
        if problem is None and self._stopped:
            raise ReleaseError(f"{path}: its trial was given up, since the process that asked for it ends.")
        if problem is None:
            # The room is gone, killed for memory perhaps; a trial is never left out.
            _logger.warning("The trial room is gone; %s is tried in a new process.", path)
            trial_load(path, digest, limits=self._limits)
        elif problem:
            raise ReleaseError(problem if str(path) in problem else f"{path}: {problem}")

    def stop(self) -> None:
        """Give up the trial that runs, if one does, and begin no other; any thread may call it."""
        self._stopped = True
        # Unlike a close this reaches the room though another thread waits for its answer.
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop, let the process go, and wait for its end."""
        self.stop()
        with self._one_at_a_time:
            self._line.close()
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            _logger.debug("The trial room's end was seen elsewhere.")

    def _ask(self, question: dict[str, object]) -> str | None:
        try:
            self._line.sendall(json.dumps(question).encode())
            answer = self._line.recv(_MOST_BYTES)
        except OSError:
            return None
        return str(json.loads(answer)["problem"]) if answer else None


def open_trial_room(limits: TrialLimits = LIMITS) -> TrialRoom:
    """Fork the process that will try releases; this one must not have loaded a model yet."""
    # A message is one datagram, so there is nothing to frame.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _serve(theirs, limits)
    theirs.close()
    return TrialRoom(pid, ours, limits)


def _serve(line: socket.socket, limits: TrialLimits) -> None:
    """Answer until the other side is closed; never return into the code that forked."""
    try:
        # Ctrl-C reaches the whole group; this process ends when its owner does.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while question := line.recv(_MOST_BYTES):
            asked = json.loads(question)
            problem = _try(Path(asked["path"]), asked["digest"], limits, line)
            with contextlib.suppress(ConnectionError):
                line.sendall(json.dumps({"problem": problem}).encode())
    finally:
        _leave()


def _try(path: Path, digest: str | None, limits: TrialLimits, line: socket.socket) -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            # Whoever asks is to see the room's end though a trial outlives it.
            line.close()
            problem = try_to_load(path, digest, limits)
            # An empty line says that all went well: silence would be an abort.
            os.write(writing, problem.encode()[:_READ_BYTES] + b"\n")
        finally:
            _leave()
    os.close(writing)
    try:
        return _verdict(pid, reading, limits, line)
    finally:
        os.close(reading)


def _verdict(pid: int, reading: int, limits: TrialLimits, line: socket.socket) -> str:
    deadline, said, late = time.monotonic() + limits.wall_seconds, b"", False
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([reading, line.fileno()], [], [], max(0.0, deadline - time.monotonic()))
        # Nothing is asked while a trial runs: what comes on the line is its end, and nobody waits any more.
        late = reading not in ready
        if late or not (more := os.read(reading, _READ_BYTES)):
            break
        said += more
    if late:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if said.endswith(b"\n"):
        return said[:-1].decode(errors="replace")
    return stopped(limits) if late else how_it_ended(os.waitstatus_to_exitcode(status), limits)


def _leave() -> NoReturn:
    """End a forked process without doing what its parent has to do at its own end."""
    failed = sys.exc_info()[0] is not None
    if failed:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(int(failed))
