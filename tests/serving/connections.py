"""A client's connection to a scorer, its server taken apart: whose clock, tasks and answers a test moves."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from serving.heads import HEAD_SECONDS, BoundedHeads
from serving.pressure import Pressure


@dataclass
class Timer:
    seconds: float
    call: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class Task:
    def add_done_callback(self, _: object) -> None:
        pass


@dataclass
class Loop:
    """Keeps timers and tasks until the test lets them go on."""

    timers: list[Timer] = field(default_factory=list)
    begun: list[Coroutine[Any, Any, object]] = field(default_factory=list)

    def call_later(self, seconds: float, call: Callable[..., object], *given: object) -> Timer:
        self.timers.append(Timer(seconds, lambda: call(*given)))
        return self.timers[-1]

    def create_task(self, coroutine: Coroutine[Any, Any, object]) -> Task:
        self.begun.append(coroutine)
        return Task()


@dataclass
class Line:
    """The transport: what was written, and whether it is open."""

    sent: bytes = b""
    closing: bool = False

    def write(self, content: bytes) -> None:
        self.sent += content

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, _: str) -> None:
        return None

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@dataclass
class Gathered:
    """Takes the calls that it is told to, and keeps them."""

    taken: bool = True
    most_bytes: int = 100
    calls: list[Any] = field(default_factory=list)

    def takes(self, _: object) -> bool:
        return self.taken

    def add(self, call: object) -> None:
        self.calls.append(call)


async def _answer(_scope: object, _receive: object, send: Callable[[dict[str, object]], Any]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Connection:
    """One client's connection, which was opened just now."""

    def __init__(self, app: object = _answer, gathering: Gathered | None = None) -> None:
        self.loop, self.line, self.pressure = Loop(), Line(), Pressure()
        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)
        self.protocol = BoundedHeads(
            config, ServerState(), {}, _loop=self.loop, pressure=self.pressure, gathering=gathering
        )
        self.protocol.connection_made(self.line)

    def send(self, *packets: bytes) -> None:
        """Let the scorer receive packets."""
        for packet in packets:
            self.protocol.data_received(packet)

    def run(self) -> None:
        """Run the tasks that were begun."""
        while self.loop.begun:
            asyncio.run(self.loop.begun.pop(0))

    def let_time_pass(self) -> None:
        """Let the bound of a head pass, as far as anything waits for it."""
        for timer in [*self.loop.timers]:
            if timer.seconds == HEAD_SECONDS and not timer.cancelled:
                timer.call()
