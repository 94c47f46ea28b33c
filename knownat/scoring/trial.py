"""A trial load in a process of its own, so that a broken model takes down nothing but the trial.

Of a thousand damaged model texts LightGBM aborts the process on two thirds and predicts without end
on some; neither can be caught where it happens.
"""

import multiprocessing
import resource
import signal
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from knownat.contract.release import read_release
from knownat.errors import KnownatError, ReleaseError
from knownat.scoring.scorer import Scorer

_MEMORY_BYTES = 8 << 30
_SECONDS = 60


def trial_load(
    path: Path, digest: str | None, *, seconds: float = _SECONDS, memory: int = _MEMORY_BYTES
) -> None:
    """Load a release and score its golden rows in a spawned process with limits.

    Raises
    ------
    ReleaseError
        If the release is refused, or the process aborts, hangs, or outgrows its memory.
    """
    # Spawned, never forked: a fork after OpenMP has run hangs.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_attempt, args=(sender, path, digest, memory), daemon=True)
    process.start()
    sender.close()
    try:
        problem = _verdict(receiver, process, seconds)
    finally:
        receiver.close()
        if process.is_alive():
            process.kill()
        process.join()
    if problem:
        raise ReleaseError(problem if str(path) in problem else f"{path}: {problem}")


def _attempt(sender: Connection, path: Path, digest: str | None, memory: int) -> None:
    # An abort is expected here and must not leave a core file behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        Scorer.load(read_release(path, digest=digest))
    except KnownatError as error:
        sender.send(str(error))
    except MemoryError:
        sender.send(f"{path}: the trial load needs more than {memory >> 20} MiB.")
    else:
        sender.send("")


def _verdict(receiver: Connection, process: SpawnProcess, seconds: float) -> str:
    if not receiver.poll(seconds):
        return f"the trial load was stopped after {seconds:g} s. Restore the release."
    try:
        return str(receiver.recv())
    except EOFError:
        process.join()
        return f"the trial load {_how_it_ended(process.exitcode)}. Restore the release."


def _how_it_ended(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"was killed by {signal.Signals(-exitcode).name}"
    return f"ended with status {exitcode} and no answer"
