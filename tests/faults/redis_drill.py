"""A scorer under load while its Redis is slow, paused, killed and emptied: what every reply said, and when.

``python -m tests.faults.redis_drill`` writes the table of ``docs/reference/scorer-faults.md``'s first part.
"""

import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from knownat.stores.redis_rows import RedisRows
from tests.faults.network import SlowNetwork
from tests.serving.made_workspace import MODEL, MadeWorkspace, fill, make_workspace
from tests.serving.running import serving
from tests.stores.packed.redis_server import RedisServer

SETTINGS = """\
project: shop
provider: local
registry: {{registry_type: sql, path: sqlite:///data/registry.db}}
offline_store: {{type: duckdb}}
online_store:
  type: knownat.stores.redis_online.RedisOnlineStore
  connection_string: 127.0.0.1:{port}
"""
DEADLINE_MS = 250
CALLERS = 4
HANG_SECONDS = 5.0
DURING = {"refuse": "store_unavailable", "nulls": "unavailable", "last_known": "last_known"}


@dataclass
class Phase:
    """What callers were told while something was wrong."""

    name: str
    told: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    hangs: int = 0
    recovered_after: float | None = None
    """Seconds from the end of the fault to the first answer with every view present."""

    @property
    def worst_ms(self) -> float:
        """How long the slowest reply took, as its caller saw it."""
        return 1_000 * max(self.seconds, default=0.0)

    @property
    def late(self) -> int:
        """How many replies took longer than the deadline and 50 ms for the way."""
        return sum(1_000 * one > DEADLINE_MS + 50 for one in self.seconds)


def drill(folder: Path, policy: str, *, seconds: float) -> list[Phase]:
    """Put a scorer through every fault, each of so many seconds, under the load of a few callers."""
    phases = []
    with RedisServer(folder) as redis:
        made = _made(folder / "direct", redis.port, policy)
        _fill(made, redis)
        with serving(made) as running, asking(running.url) as ask:
            _until(ask, "present")
            redis.pause()
            paused = _endure(ask, "paused", seconds)
            redis.resume()
            phases.append(_recover(ask, paused))
            redis.kill()
            phases.append(_endure(ask, "killed", seconds))
            redis.start()
            _until_lost(running.url)
            emptied = _endure(ask, "restarted empty", seconds)
            _fill(made, redis)
            phases.append(_recover(ask, emptied))
    with RedisServer(folder) as redis, SlowNetwork(redis.port, 0.0) as network:
        made = _made(folder / "slow", int(network.url.rsplit(":", 1)[1].split("/")[0]), policy)
        _fill(made, redis)
        with serving(made) as running, asking(running.url) as ask:
            _until(ask, "present")
            network.delay = 0.3
            slow = _endure(ask, "300 ms late", seconds)
            network.delay = 0.0
            phases.append(_recover(ask, slow))
    return phases


Ask = Callable[[], tuple[str, float]]


@contextmanager
def asking(url: str) -> Iterator[Ask]:
    """Give what asks once and says what it was told and after how long."""
    # Far above the deadline: what runs into it hangs.
    with httpx.Client(base_url=url, timeout=HANG_SECONDS) as client:

        def ask() -> tuple[str, float]:
            began = time.perf_counter()
            try:
                answer = client.post(f"/v1/models/{MODEL}/predict", json={"keys": {"customer": 3}})
            except httpx.TimeoutException:
                return "hang", time.perf_counter() - began
            return _told(answer), time.perf_counter() - began

        yield ask


def _told(answer: httpx.Response) -> str:
    if answer.status_code != 200:
        return str(answer.json()["error"]["code"])
    (prediction,) = answer.json()["predictions"]
    statuses = {view["status"] for view in prediction["views"].values()}
    honest = prediction["degraded"] is (statuses != {"present"})
    return "/".join(sorted(statuses)) if honest else "dishonest"


def _endure(ask: Ask, name: str, seconds: float) -> Phase:
    """Let several callers ask for so long."""
    phase, until, lock = Phase(name), time.monotonic() + seconds, threading.Lock()

    def call() -> None:
        while time.monotonic() < until:
            told, took = ask()
            with lock:
                phase.hangs += told == "hang"
                phase.told[told] += 1
                phase.seconds.append(took)

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return phase


def _recover(ask: Ask, phase: Phase) -> Phase:
    began = time.perf_counter()
    _until(ask, "present")
    phase.recovered_after = time.perf_counter() - began
    return phase


def _until(ask: Ask, wanted: str) -> None:
    while ask()[0] != wanted:
        time.sleep(0.005)


def _until_lost(url: str) -> None:
    while "lost its rows" not in httpx.get(f"{url}/health/ready", timeout=HANG_SECONDS).text:
        time.sleep(0.01)


def _made(folder: Path, port: int, policy: str) -> MadeWorkspace:
    serving_as = {"when_store_fails": policy, "deadline_ms": DEADLINE_MS}
    return make_workspace(folder, settings=SETTINGS.format(port=port), serving=serving_as)


def _fill(made: MadeWorkspace, redis: RedisServer) -> None:
    rows = RedisRows(redis.url, socket_seconds=5, read_deadline_seconds=5)
    fill(made, rows)
    rows.close()


def main() -> int:
    """Run the drill at length for every policy and print its table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    say = sys.stdout.write
    say("| policy | Redis | replies | told | hangs | slowest, ms | over deadline + 50 ms | well after, s |\n")
    say("|---|---|---|---|---|---|---|---|\n")
    for policy in DURING:
        with tempfile.TemporaryDirectory() as folder:
            for phase in drill(Path(folder), policy, seconds=seconds):
                told = ", ".join(f"{name} {count:,}" for name, count in phase.told.most_common())
                well = "" if phase.recovered_after is None else f"{phase.recovered_after:.2f}"
                say(
                    f"| {policy} | {phase.name} | {len(phase.seconds):,} | {told} | {phase.hangs} | "
                    f"{phase.worst_ms:.0f} | {phase.late} | {well} |\n"
                )
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
