"""What a prediction over HTTP costs a server: ``python -m tests.benchmarks.predict``.

Each server answers the same questions with the same model, and all scores must be equal. Two worlds: a shop
(20 features of three views, 500 trees of 63 leaves), and the flights' service (seven entities, 17 views, 112
columns, some of them made on demand). Ours has log, metrics, ttl, keys and deadline on. The peers: what a
team writes first, over Feast's stores; a bare uvicorn that gives everybody the same answer; and for the
shop ``feast serve``, which gives the features only, MLflow's server and BentoML, which are sent the features
and only predict. CPU is the whole process tree's for one request, the best of some turns taken in rotation;
what Redis itself used is not in it. Lines are merged, so a table may be made of several runs.
"""

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil

from knownat.clock import FileClock
from tests.benchmarks.flights_world import make_flights_world
from tests.benchmarks.shop_world import PEERS, ROOT, make_world
from tests.benchmarks.table import Line, record
from tests.load.clients import Target, ask
from tests.load.processes import tree_cpu_seconds, tree_resident_mb
from tests.stores.packed.redis_server import RedisServer, free_port

CONTENDERS = (
    "ours, LMDB",
    "ours, Redis",
    "naive, Redis",
    "feast serve, Redis",
    "MLflow",
    "BentoML",
    "bare uvicorn",
)
APART = ("MLflow", "BentoML")
"""Those that live in an environment of their own."""
PEER = "naive, Redis"
BATCHES, WORKERS, CONNECTIONS = (1, 10, 100, 1_000), (1, 2), (8, 1, 32)
_START_SECONDS = 600
_TURN_CPU_SECONDS = 0.3


WORLDS = {
    "shop": (make_world, CONTENDERS),
    "flights": (make_flights_world, ("ours, LMDB", "ours, Redis", PEER, "bare uvicorn")),
}


class World(Protocol):
    """What is asked of whom, and which score each question has."""

    @property
    def folder(self) -> Path: ...
    @property
    def work(self) -> str: ...
    @property
    def scores(self) -> Sequence[float]: ...
    @property
    def now_us(self) -> int: ...
    def home(self, who: str) -> Path: ...
    def key(self, who: str) -> str | None: ...
    def command(self, who: str, port: int, workers: int) -> tuple[list[str], Mapping[str, str]]: ...
    def request(self, who: str, places: list[int], /) -> tuple[str, bytes]: ...
    def scores_in(self, who: str, answer: bytes) -> list[float] | None: ...


@dataclass(frozen=True)
class Cell:
    """One way of asking."""

    rows: int
    workers: int
    connections: int

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.workers} workers, {self.connections} connections"


@dataclass(frozen=True)
class Server:
    """A server that answers, and what it needed until it did."""

    who: str
    url: str
    process: psutil.Process
    start_cpu: float
    headers: Mapping[str, str]


def main() -> int:
    """Start every server, ask in rotation, and record what an answer cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="of each server at each way of asking")
    parser.add_argument("--rows", type=int, nargs="*", default=BATCHES, help="rows of a request")
    parser.add_argument("--workers", type=int, nargs="*", default=WORKERS, help="processes of each server")
    parser.add_argument("--connections", type=int, nargs="*", default=CONNECTIONS, help="asking at once")
    parser.add_argument(
        "--world", nargs="*", choices=list(WORLDS), default=list(WORLDS), help="what is asked"
    )
    parser.add_argument(
        "--who", nargs="*", choices=CONTENDERS, default=CONTENDERS, help=f"servers, beside {PEER}"
    )
    given = parser.parse_args()
    for name in given.world:
        make, might = WORLDS[name]
        with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as redis:
            world = make(Path(folder), redis)
            asked = {PEER, *given.who}  # The naive one is the measure of the others.
            contenders = [who for who in might if who in asked and (PEERS.exists() or who not in APART)]
            cells = [Cell(*each) for each in product(given.rows, given.workers, given.connections)]
            _measure(world, contenders, cells, given.turns)
    return 0


def _measure(world: World, contenders: Sequence[str], cells: Sequence[Cell], turns: int) -> None:
    for workers in sorted({cell.workers for cell in cells}):
        with serving_all(contenders, world, workers) as servers:
            record([_start_line(server, world, workers) for server in servers])
            for cell in cells:
                if cell.workers == workers:
                    record(compare(cell, servers, world, turns))


def compare(cell: Cell, servers: Sequence[Server], world: World, turns: int) -> list[Line]:
    """Ask each server in rotation; one line each, the cost that of its best turn."""
    targets = {server.who: _target(server, world, cell.rows) for server in servers}
    times = {server.who: _times(server, targets[server.who], cell) for server in servers}
    best: dict[str, float] = {}
    for _ in range(turns):
        for server in servers:
            cost = _cost(server, targets[server.who], times[server.who], cell.connections)
            best[server.who] = min(best.get(server.who, cost), cost)
    return [
        Line(
            work=world.work,
            size=str(cell),
            who=server.who,
            cpu_seconds=best[server.who],
            peak_mb=tree_resident_mb(server.process),
            ratio=best[PEER] / best[server.who],
        )
        for server in servers
    ]


def _target(server: Server, world: World, rows: int) -> Target:
    dice = np.random.default_rng(rows)
    asked = [dice.integers(0, len(world.scores), rows).tolist() for _ in range(997 if rows == 1 else 31)]
    requests = [world.request(server.who, customers) for customers in asked]
    outcome = ask(Target(server.url, requests[:1], server.headers), 1, keep=True)
    assert outcome.statuses == {200: 1}, (server.who, outcome.bodies)
    scores = world.scores_in(server.who, outcome.bodies[0])
    if scores is not None:
        np.testing.assert_allclose(scores, [world.scores[c] for c in asked[0]], rtol=0, atol=1e-12)
    return Target(server.url, requests, server.headers)


def _times(server: Server, target: Target, cell: Cell) -> int:
    """How many requests make a turn that is long beside the clock's ticks of a hundredth of a second."""
    few = 2 * cell.connections
    # At first a tenth of a millisecond each, as long as no tick is seen.
    rough = max(1e-4, _spent(server, target, few, cell.connections) / few)
    return int(max(few, min(4_000, _TURN_CPU_SECONDS / rough)))


def _cost(server: Server, target: Target, times: int, connections: int) -> float:
    spent = _spent(server, target, times, connections)
    if spent <= 0:
        raise SystemExit(f"{server.who} answered {times} requests in {spent} CPU s: its processes changed")
    return spent / times


def _spent(server: Server, target: Target, times: int, connections: int) -> float:
    before = tree_cpu_seconds(server.process)
    outcome = ask(target, times, connections=connections)
    if outcome.statuses != {200: times}:
        raise SystemExit(f"{server.who} answered {dict(outcome.statuses)}, {outcome.broken} not at all")
    return tree_cpu_seconds(server.process) - before


def _start_line(server: Server, world: World, workers: int) -> Line:
    return Line(
        work=world.work.replace("prediction over HTTP", "scorer, start to first answer"),
        size=f"{workers} workers",
        who=server.who,
        cpu_seconds=server.start_cpu,
        peak_mb=tree_resident_mb(server.process),
        ratio=None,
    )


@contextmanager
def serving_all(contenders: Sequence[str], world: World, workers: int) -> Iterator[list[Server]]:
    """Start servers one after another, and end them all."""
    FileClock(world.folder / "clock").move_to(world.now_us)
    with ExitStack() as stack:
        started = [stack.enter_context(_starting(who, world, workers)) for who in contenders]
        yield [_wait(one) for one in started]


@dataclass(frozen=True)
class _Started:
    who: str
    process: subprocess.Popen[bytes]
    target: Target
    log: Path


@contextmanager
def _starting(who: str, world: World, workers: int) -> Iterator[_Started]:
    port = free_port()
    command, more = world.command(who, port, workers)
    key = world.key(who)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    log = world.folder / f"{who.replace(' ', '_')}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=world.home(who),
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT),
                 **more},
            start_new_session=True,
        )  # fmt: skip
    target = Target(f"http://127.0.0.1:{port}", [world.request(who, [1])], headers)
    try:
        yield _Started(who, process, target, log)
    finally:
        # The group is the server's own: it was started as a session.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(one: _Started) -> Server:
    """Wait until it answers, and see what it needed until then."""
    watched = psutil.Process(one.process.pid)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and one.process.poll() is None:
        with suppress(OSError):
            if ask(one.target, 1).statuses[200]:
                return Server(one.who, one.target.url, watched, tree_cpu_seconds(watched), one.target.headers)
        time.sleep(0.2)
    raise SystemExit(f"{one.who} does not answer:\n{one.log.read_text(errors='replace')[-2_000:]}")


if __name__ == "__main__":
    raise SystemExit(main())
