"""What explanations cost, and cost the predictions beside them: ``python -m tests.benchmarks.explain``.

One worker serves 20 features to a model of 300 trees of 31 leaves. CPU is the whole process's, user and
system. Waits are of one client that predicts row by row, in turns with and without another that explains
all the time, so both halves meet the same machine.
"""

import statistics
import sys
import tempfile
import threading
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
TURNS, REQUESTS = 10, 300


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
    alone: list[float] = []
    beside: list[float] = []
    explained = 0
    for _ in range(TURNS):
        alone += _timed(client)
        with _explaining(url) as done:
            beside += _timed(client)
        explained += len(done)
    table = Table("predictions", "p50 ms", "p90 ms", "p99 ms")
    for named, waits in (("alone", alone), (f"beside {explained} explanations", beside)):
        cuts = statistics.quantiles(waits, n=100)
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
def _explaining(url: str) -> Iterator[list[int]]:
    """Explain a row after the other from another thread."""
    over, done = threading.Event(), []

    def explain() -> None:
        with httpx.Client(base_url=url) as client:
            while not over.is_set():
                _ask(client, EXPLAIN, 1)
                done.append(1)

    thread = threading.Thread(target=explain)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def _cpu_us(process: psutil.Process, call: Callable[[], None], times: int) -> float:
    call()
    before = process.cpu_times()
    for _ in range(times):
        call()
    after = process.cpu_times()
    return 1e6 * (after.user + after.system - before.user - before.system) / times


if __name__ == "__main__":
    sys.exit(main())
