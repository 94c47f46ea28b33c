"""Where a scorer listens: sockets bound before anything else is loaded."""

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from knownat.errors import ConfigError

_BACKLOG = 2_048
_LOOPBACK = "127.0.0.1"
_LAST_PORT = 65_535


def bind_public(host: str, port: int, *, keys: Path | None) -> socket.socket:
    """Bind the port that is asked for predictions; 0 takes a free one.

    Raises
    ------
    ConfigError
        If others can reach the address and no key would be asked of them, or it cannot be bound.
    """
    if keys is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host}",
            ["others could reach it, and there are no keys; bind 127.0.0.1, or make one: knownat keys add"],
        )
    return _bind(host, port)


def bind_admin(port: int, count: int) -> list[socket.socket]:
    """Bind one loopback port a worker, counting up from the first; 0 takes free ones.

    Raises
    ------
    ConfigError
        If one cannot be bound.
    """
    with ExitStack() as held:
        ports = (port + number if port else 0 for number in range(count))
        bound = [held.enter_context(_bind(_LOOPBACK, one)) for one in ports]
        # All or none: what was bound before one that cannot be is let go.
        held.pop_all()
    return bound


def urls_of(bound: Sequence[socket.socket]) -> list[str]:
    """Name the addresses a client uses."""
    return [url_of(one) for one in bound]


def url_of(bound: socket.socket) -> str:
    """Name the address a client uses."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port > _LAST_PORT:
        raise ConfigError(f"{host}:{port}", [f"cannot be bound: the last port is {_LAST_PORT}"])
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(f"{host}:{port}", [f"cannot be bound: {error}"]) from error
