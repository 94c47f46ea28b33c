"""Train, promote and record a shop's model in processes that a test kills, or starts all at once.

Children come from a server that has imported everything already, so that a test can afford to kill many.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from knownat.clock import FixedClock, from_us, to_us
from knownat.contract.prediction_log import Role
from knownat.contract.release import MANIFEST, Deployed, Release, read_release
from knownat.contract.workspace import Workspace
from training.pipeline import train
from training.promotion import promote, record
from training.publishing import publish_as
from training.registry import synchronise

MODEL = "return_soon"
NOW = FixedClock(to_us(datetime(2024, 5, 1, tzinfo=UTC)))
PROMOTING, RECORDING, DONE = "promote", "record", "done"
_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.faults.trainer", "mlflow.tracking", "knownat.stores.repo"])


def started(
    work: Callable[..., None], *given: object, **named: object
) -> tuple[ForkServerProcess, Connection]:
    """Start a child that does some work and tells every stage of it over a pipe."""
    listening, telling = _FORKS.Pipe(duplex=False)
    child = _FORKS.Process(target=work, args=(telling, *given), kwargs=named)
    child.start()
    telling.close()
    return child, listening


def train_and_promote(telling: Connection, repo: Path) -> None:
    """Do what ``knownat train`` does."""
    workspace = Workspace.at(repo)
    seen: set[str] = set()

    def tell(stage: str, done: int, total: int) -> None:
        if stage not in seen:
            seen.add(stage)
            telling.send(stage)

    release = train(workspace, MODEL, clock=NOW, progress=tell)
    _promote_and_record(telling, workspace, release.manifest.version)


def publish_and_promote(telling: Connection, repo: Path, made: Path, dies_at: int) -> None:
    """Publish a release that was made before as a new version, and let it serve.

    The process kills itself before its ``dies_at``-th operation on a file below ``releases``. If it
    does not, the last thing that it tells is how many there were.
    """
    workspace = Workspace.at(repo)
    kept = read_release(made)
    operations = _die_at(workspace.releases, dies_at)
    release = publish_as(
        workspace.releases / MODEL, None, lambda staged, version: _copy(kept, staged, version)
    )
    _promote_and_record(telling, workspace, release.manifest.version)
    telling.send(next(operations))


def promote_when_told(telling: Connection, repo: Path, versions: list[str], go: Path, *, whole: bool) -> None:
    """Wait for a file, so that many begin at one time; let version after version serve.

    If not ``whole``, without the trial load that comes before and the record that comes after.
    """
    workspace = Workspace.at(repo)
    telling.send("ready")
    while not go.exists():
        time.sleep(0.001)
    for version in versions:
        if whole:
            _promote_and_record(telling, workspace, version)
        else:
            digest = read_release(workspace.releases / MODEL / version).digest
            deployed = Deployed(version=version, digest=digest)
            when, why = from_us(NOW.now_us()), f"by process {os.getpid()}"
            record(workspace, MODEL, deployed, role=Role.CHAMPION, reason=why, when=when)
    telling.send(DONE)


def _promote_and_record(telling: Connection, workspace: Workspace, version: str) -> None:
    telling.send(PROMOTING)
    promote(workspace, MODEL, version, reason=f"by process {os.getpid()}", clock=NOW)
    telling.send(RECORDING)
    problem = synchronise(workspace)
    assert problem is None, problem
    telling.send(DONE)


def _copy(kept: Release, staged: Path, version: str) -> Mapping[str, object]:
    shutil.copytree(kept.path, staged, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
    manifest = kept.manifest.model_dump(exclude={"files"})
    return {**manifest, "version": version}


def _die_at(folder: Path, number: int) -> Iterator[int]:
    operations, below = count(), f"{folder}{os.sep}"

    def watch(event: str, given: tuple[object, ...]) -> None:
        if event in _OPERATIONS and str(given[0]).startswith(below) and next(operations) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    # The interpreter tells it of every file before it is touched.
    sys.addaudithook(watch)
    return operations
