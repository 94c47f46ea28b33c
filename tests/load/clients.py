"""Clients that ask a server on loopback over kept connections, a given number of times, and note each answer.

Each connection has one request on its way. In a closed loop it sends the next as soon as it is answered;
paced, the requests are due at a steady rate, and an answer's latency counts from when it was due, so that
a server that stands still is not asked less often and found fast.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from urllib.parse import urlsplit

import httptools
import numpy as np
import uvloop

MOST_SECONDS = 300.0
"""No load goes on for longer, whatever it was asked for."""


@dataclass
class Outcome:
    """What came back: how often each status, when and how late each answer, the last body of each status."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Requests whose connection ended before an answer."""
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    answered_at: list[tuple[float, int]] = field(default_factory=list)
    """Of each answer the time of the monotonic clock and its status."""
    bodies: list[bytes] = field(default_factory=list)
    headers: dict[int, Mapping[bytes, bytes]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.statuses.total() + self.broken

    def share(self, *statuses: int) -> float:
        """The share of requests that were answered with one of these."""
        return sum(self.statuses[status] for status in statuses) / self.total

    def quantile(self, q: float) -> float:
        """Seconds that this share of answers took at most."""
        return float(np.quantile(self.latencies, q))


@dataclass(frozen=True)
class Target:
    """Where to send what: a request is path and body; the same headers with each."""

    url: str
    requests: Sequence[tuple[str, bytes]]
    headers: Mapping[str, str] = field(default_factory=dict)

    def wire(self) -> list[bytes]:
        """Return each request as its bytes."""
        host = urlsplit(self.url).netloc
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return [
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{more}"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
            for path, body in self.requests
        ]


def ask(target: Target, times: int, *, connections: int = 1, keep: bool = False) -> Outcome:
    """Ask so many times in all, as fast as the answers come."""
    return uvloop.run(_closed(target, times, connections, keep))


def ask_for(target: Target, seconds: float, *, connections: int = 1, keep: bool = False) -> Outcome:
    """Ask for so long, as fast as the answers come."""
    return uvloop.run(_closed(target, 10**9, connections, keep, min(seconds, MOST_SECONDS)))


@contextmanager
def asking(target: Target, *, rate: float, connections: int = 4) -> Iterator[Outcome]:
    """Ask at a rate from another thread while the block lasts; the outcome is whole once it is left."""
    stop = threading.Event()
    outcome = Outcome()

    def work() -> None:
        uvloop.run(_paced(target, rate, MOST_SECONDS, connections, keep=True, outcome=outcome, stop=stop))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        try:
            yield outcome
        finally:
            stop.set()
        done.result()


def ask_paced(
    target: Target, rate: float, seconds: float, *, connections: int, keep: bool = False
) -> Outcome:
    """Ask at a steady rate; what finds no free connection waits, and its wait counts."""
    return uvloop.run(_paced(target, rate, min(seconds, MOST_SECONDS), connections, keep))


class _Connection(asyncio.Protocol):
    """One kept connection; made anew by its owner when the server ends it."""

    def __init__(self, outcome: Outcome, keep: bool) -> None:
        self._outcome = outcome
        self._keep = keep
        self._waiter: asyncio.Future[bool] | None = None
        self._due = 0.0
        self._body: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._waiter is not None and not self._waiter.done():
            self._outcome.broken += 1
            self._waiter.set_result(False)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        if self._keep:
            self._body.append(body)

    def on_message_complete(self) -> None:
        now = time.monotonic()
        status = self._parser.get_status_code()
        outcome = self._outcome
        outcome.statuses[status] += 1
        outcome.latencies.append(now - self._due)
        outcome.answered_at.append((now, status))
        if status not in outcome.headers:
            outcome.headers[status] = dict(self._headers)
        if self._keep:
            outcome.bodies.append(b"".join(self._body))
            self._body.clear()
        self._headers.clear()
        if not self._parser.should_keep_alive():
            self.transport.close()
            self.open = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    def send(self, request: bytes, due: float) -> asyncio.Future[bool]:
        self._due = due
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiter


async def _connect(target: Target, outcome: Outcome, keep: bool) -> _Connection:
    split = urlsplit(target.url)
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: _Connection(outcome, keep), split.hostname, split.port
    )
    return connection


async def _closed(
    target: Target, times: int, connections: int, keep: bool, seconds: float = MOST_SECONDS
) -> Outcome:
    outcome = Outcome()
    wire = cycle(target.wire())
    left = iter(range(times))
    start = time.monotonic()

    async def work() -> None:
        connection = await _connect(target, outcome, keep)
        for _ in left:
            if (now := time.monotonic()) - start > seconds:
                break
            if not connection.open:
                connection = await _connect(target, outcome, keep)
            await connection.send(next(wire), now)
        connection.transport.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    outcome.seconds = time.monotonic() - start
    return outcome


async def _paced(
    target: Target,
    rate: float,
    seconds: float,
    connections: int,
    keep: bool,
    *,
    outcome: Outcome | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    outcome = Outcome() if outcome is None else outcome
    wire = cycle(target.wire())
    start = time.monotonic() + 0.05
    due_times: Iterator[float] = (start + number / rate for number in range(int(rate * seconds)))

    async def work() -> None:
        connection = await _connect(target, outcome, keep)
        for due in due_times:
            if stop is not None and stop.is_set():
                break
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if not connection.open:
                connection = await _connect(target, outcome, keep)
            await connection.send(next(wire), due)
        connection.transport.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    outcome.seconds = time.monotonic() - start
    return outcome
