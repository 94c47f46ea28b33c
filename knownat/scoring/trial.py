"""A trial load in a process of its own, so that a broken model takes down nothing but the trial.

Of a thousand damaged model texts LightGBM aborts the process on two thirds and predicts without end
on some; neither can be caught where it happens.
"""

import math
import multiprocessing
import os
import resource
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from knownat.contract.release import read_release
from knownat.errors import KnownatError, ReleaseError
from knownat.scoring.scorer import Scorer


@dataclass(frozen=True)
class TrialLimits:
    """What a trial may take. On a busy machine time passes without a trial's getting any of it."""

    cpu_seconds: int = 60
    """Of the processor: what a model that never ends is stopped by."""
    wall_seconds: float = 900.0
    """By the clock: what a model that only waits is stopped by."""
    memory_bytes: int = 8 << 30


LIMITS = TrialLimits()


def trial_load(path: Path, digest: str | None, *, limits: TrialLimits = LIMITS) -> None:
    """Load a release and score its golden rows in a spawned process with limits.

    Raises
    ------
    ReleaseError
        If the release is refused, or the process aborts, hangs, or outgrows its memory.
    """
    # Spawned, never forked: a fork after OpenMP has run hangs.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_attempt, args=(sender, path, digest, limits), daemon=True)
    process.start()
    sender.close()
    try:
        problem = _verdict(receiver, process, limits)
    finally:
        receiver.close()
        if process.is_alive():
            process.kill()
        process.join()
    if problem:
        raise ReleaseError(problem if str(path) in problem else f"{path}: {problem}")


def try_to_load(path: Path, digest: str | None, limits: TrialLimits) -> str:
    """Load a release under limits that only the end of this process lifts; return why it is refused."""
    # An abort is expected here and must not leave a core file behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    # Up to here an interpreter and its imports may have taken some; they are not the release's fault.
    used = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + limits.cpu_seconds), resource.RLIM_INFINITY))
    # LightGBM complains on standard output, which a command may have promised to one JSON document.
    os.dup2(2, 1)
    try:
        Scorer.load(read_release(path, digest=digest))
    except KnownatError as error:
        return str(error)
    except MemoryError:
        return f"{path}: the trial load needs more than {limits.memory_bytes >> 20} MiB."
    return ""


def stopped(limits: TrialLimits) -> str:
    """Say that a trial did not end."""
    return f"the trial load was stopped after {limits.wall_seconds:g} s. Restore the release."


def how_it_ended(exitcode: int | None, limits: TrialLimits) -> str:
    """Say how a trial ended that had nothing to say."""
    if exitcode == -signal.SIGXCPU:
        spent = f"{limits.cpu_seconds} s of processor time"
        return f"the trial load was stopped after {spent}. Restore the release."
    if exitcode is not None and exitcode < 0:
        how = f"was killed by {signal.Signals(-exitcode).name}"
    else:
        how = f"ended with status {exitcode} and no answer"
    return f"the trial load {how}. Restore the release."


def _attempt(sender: Connection, path: Path, digest: str | None, limits: TrialLimits) -> None:
    sender.send(try_to_load(path, digest, limits))


def _verdict(receiver: Connection, process: SpawnProcess, limits: TrialLimits) -> str:
    if not receiver.poll(limits.wall_seconds):
        return stopped(limits)
    try:
        return str(receiver.recv())
    except EOFError:
        process.join()
        return how_it_ended(process.exitcode, limits)
