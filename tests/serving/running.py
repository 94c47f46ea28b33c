"""``knownat serve`` as a process over a made workspace, its clock standing still until it is moved."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from knownat.clock import FileClock
from knownat.stores.lmdb_rows import open_lmdb
from tests.serving.made_workspace import NOW_US, MadeWorkspace, fill


@dataclass
class Running:
    """A scorer that is ready: its process, its address and its clock."""

    process: subprocess.Popen[str]
    url: str
    clock: FileClock
    said: dict[str, object]

    def children(self) -> list[int]:
        """Return the processes that it started, and those that they did."""
        return _descendants(self.process.pid)


def fill_lmdb(made: MadeWorkspace) -> None:
    """Write every customer's rows into the workspace's own LMDB."""
    store = open_lmdb(made.workspace.repo / "data" / "online_rows")
    fill(made, store)
    store.close()


@contextmanager
def serving(
    made: MadeWorkspace,
    *options: str,
    python: tuple[str, ...] = (),
    verbose: bool = False,
    stderr: int | None = None,
) -> Iterator[Running]:
    """Start a scorer on a free port and give it once it is ready; whatever happens, it ends."""
    path = made.workspace.home / "clock"
    clock = FileClock(path)
    clock.move_to(NOW_US)
    command = [sys.executable, *python, str(Path(sys.executable).with_name("knownat"))]
    command += ["--verbose"] * verbose + ["serve", "--json"]
    command += ["--repo", str(made.workspace.repo), "--port", "0", "--clock", f"file:{path}"]
    command += ["--drain-seconds", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd="/", env={**os.environ, "TZ": "UTC"}
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        yield Running(process, str(said["url"]), clock, said)
    finally:
        process.kill()
        process.communicate()


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found
