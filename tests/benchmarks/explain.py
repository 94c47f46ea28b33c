"""What explanations cost, and cost the predictions beside them: ``python -m tests.benchmarks.explain``.

One worker serves 20 features to a model of 300 trees of 31 leaves. CPU is the whole process's, user and
system. Waits are of one client that predicts row by row, in turns alone, beside a process that only spins,
and beside one that explains all the time: what the last costs more than the spinning is what explanations
cost inside the scorer.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from tests.serving.made_workspace import MODEL, deploy, make_workspace, release
from tests.serving.running import fill_lmdb, serving

PREDICT = f"/v1/models/{MODEL}/predict"
EXPLAIN = PREDICT + "?explain=true"
TURNS, REQUESTS = 10, 150
BESIDE = {
    "alone": "",
    "beside a process that only spins": "print(flush=True)\nwhile True: pass",
    "beside one that explains all the time": """
import sys, httpx
client, body = httpx.Client(), {"keys": {"customer": 3}}
while True:
    assert client.post(sys.argv[1], json=body).status_code == 200
    print(flush=True)
""",
}


def main() -> int:
    """Measure and show."""
    with tempfile.TemporaryDirectory() as folder:
        made = make_workspace(Path(folder))
        deploy(made, champion=release(made, "2", trees=300, leaves=31))
        fill_lmdb(made)
        with serving(made) as running:
            process = psutil.Process(running.process.pid)
            with httpx.Client(base_url=running.url) as client:
                _costs(client, process)
                _waits(client, running.url)
    return 0


def _costs(client: httpx.Client, process: psutil.Process) -> None:
    table = Table("asked", "rows", "CPU us a row")
    for path, named in ((PREDICT, "a prediction"), (EXPLAIN, "an explanation")):
        for rows in (1, 10, 100):
            used = _cpu_us(
                process, lambda path=path, rows=rows: _ask(client, path, rows), max(3, 300 // rows)
            )
            table.add_row(named, str(rows), f"{used / rows:,.0f}")
    Console(width=100).print(table)


def _waits(client: httpx.Client, url: str) -> None:
    waits: dict[str, list[float]] = {named: [] for named in BESIDE}
    for _ in range(TURNS):
        for named, code in BESIDE.items():
            with _running(code, url):
                waits[named] += _timed(client)
    table = Table("predictions", "p50 ms", "p90 ms", "p99 ms")
    for named, times in waits.items():
        cuts = statistics.quantiles(times, n=100)
        table.add_row(named, *(f"{1_000 * cuts[place - 1]:.2f}" for place in (50, 90, 99)))
    Console(width=100).print(table)


def _ask(client: httpx.Client, path: str, rows: int) -> None:
    asked = [{"keys": {"customer": number}} for number in range(rows)]
    answer = client.post(path, json={"rows": asked} if rows > 1 else asked[0])
    assert answer.status_code == 200, answer.text


def _timed(client: httpx.Client) -> list[float]:
    waits = []
    for _ in range(REQUESTS):
        start = time.perf_counter()
        _ask(client, PREDICT, 1)
        waits.append(time.perf_counter() - start)
    return waits


@contextmanager
def _running(code: str, url: str) -> Iterator[None]:
    """Run code in a process of its own, which says when it has begun."""
    if not code:
        yield
        return
    command = [sys.executable, "-c", code, url + EXPLAIN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


def _cpu_us(process: psutil.Process, call: Callable[[], None], times: int) -> float:
    call()
    before = process.cpu_times()
    for _ in range(times):
        call()
    after = process.cpu_times()
    return 1e6 * (after.user + after.system - before.user - before.system) / times


if __name__ == "__main__":
    sys.exit(main())
