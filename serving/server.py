"""Run a scorer's apps on their sockets: says when it is ready, drains on SIGTERM, ends with 0."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from serving.heads import BoundedHeads
from serving.health import Drain
from serving.pressure import Pressure
from serving.wire import Gathering

_LAST_REQUESTS_SECONDS = 30


@dataclass(frozen=True)
class Listening:
    """An app and the socket that it answers on."""

    app: ASGIApp
    bound: socket.socket
    gathering: Gathering | None = None
    """What answers whole requests that come together, beside the app."""


def run(
    public: Listening,
    admin: Listening,
    *,
    drain: Drain,
    pressure: Pressure,
    drain_seconds: float,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None],
    leash: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish and return.

    For ``drain_seconds`` readiness is down while requests are still answered, so that a balancer
    looks elsewhere first. A second signal cuts that wait short. The end of ``leash``, a descriptor,
    is a signal too, and ``on_stop`` is called at the first. The admin port answers until the last
    request has been.
    """
    config = _config(public, lifespan="on", pressure=pressure)
    # What operators ask is no pressure on those who are answered.
    beside = _QuietServer(_config(admin, lifespan="off", pressure=Pressure()))
    server = _DrainingServer(
        config, drain=drain, drain_seconds=drain_seconds, on_ready=on_ready, on_stop=on_stop, leash=leash
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(server, public.bound, beside, admin.bound))


async def _serve(
    server: uvicorn.Server, public: socket.socket, beside: uvicorn.Server, admin: socket.socket
) -> None:
    admin_served = asyncio.create_task(beside.serve([admin]))
    try:
        await server.serve([public])
    finally:
        beside.should_exit = True
        await admin_served


def _config(listening: Listening, *, lifespan: str, pressure: Pressure) -> uvicorn.Config:
    protocol = partial(BoundedHeads, pressure=pressure, gathering=listening.gathering)
    return uvicorn.Config(
        listening.app,
        # Nobody asks who a client says it is.
        proxy_headers=False,
        access_log=False,
        log_config=None,
        # Uvicorn calls it with what it has, as it would a protocol's class.
        http=cast("type[asyncio.Protocol]", protocol),
        ws="none",
        server_header=False,
        lifespan="on" if lifespan == "on" else "off",
        timeout_graceful_shutdown=_LAST_REQUESTS_SECONDS,
    )


class _QuietServer(uvicorn.Server):
    """A server that is told to stop by the one beside it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _DrainingServer(uvicorn.Server):
    """Uvicorn's own handling refuses new connections at once and ends by raising the signal again."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain: Drain,
        drain_seconds: float,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
        leash: int | None,
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_seconds = drain_seconds
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._leash = leash

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for one in signals:
            loop.add_signal_handler(one, self._begin_to_stop)
        if self._leash is not None:
            loop.add_reader(self._leash, self._let_go, self._leash)
        try:
            yield
        finally:
            for one in signals:
                loop.remove_signal_handler(one)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def _let_go(self, leash: int) -> None:
        if not os.read(leash, 1):
            asyncio.get_running_loop().remove_reader(leash)
            self._begin_to_stop()

    def _begin_to_stop(self) -> None:
        wait = 0.0 if self._drain.begun else self._drain_seconds
        if not self._drain.begun:
            self._on_stop()
        self._drain.begun = True
        asyncio.get_running_loop().call_later(wait, self._stop)

    def _stop(self) -> None:
        self.should_exit = True
