"""Run an app on a socket: says when it is ready, drains on SIGTERM, ends with 0."""

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from knownat.errors import ConfigError
from serving.health import Drain

_BACKLOG = 2_048
_LAST_REQUESTS_SECONDS = 30


def bind(host: str, port: int, *, allow_unauthenticated: bool) -> socket.socket:
    """Bind a listening socket; port 0 takes a free one.

    Raises
    ------
    ConfigError
        If the address is reachable by others and that was not asked for, or cannot be bound.
    """
    if not (_is_loopback(host) or allow_unauthenticated):
        why = "others could reach it, and the scorer asks nobody who they are"
        raise ConfigError(f"--host {host}", [f"{why}; bind 127.0.0.1, or say --allow-unauthenticated"])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{host}:{port}", [f"cannot be bound: {error}"]) from error


def url_of(bound: socket.socket) -> str:
    """Name the address a client uses."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"


def run(
    app: FastAPI, bound: socket.socket, *, drain: Drain, drain_seconds: float, on_ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish and return.

    For ``drain_seconds`` readiness is down while requests are still answered, so that a balancer
    looks elsewhere first. A second signal cuts that wait short.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_LAST_REQUESTS_SECONDS,
    )
    server = _DrainingServer(config, drain=drain, drain_seconds=drain_seconds, on_ready=on_ready)
    server.run(sockets=[bound])


class _DrainingServer(uvicorn.Server):
    """Uvicorn's own handling refuses new connections at once and ends by raising the signal again."""

    def __init__(
        self, config: uvicorn.Config, *, drain: Drain, drain_seconds: float, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_seconds = drain_seconds
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for one in signals:
            loop.add_signal_handler(one, self._begin_to_stop)
        try:
            yield
        finally:
            for one in signals:
                loop.remove_signal_handler(one)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def _begin_to_stop(self) -> None:
        wait = 0.0 if self._drain.begun else self._drain_seconds
        self._drain.begun = True
        asyncio.get_running_loop().call_later(wait, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
