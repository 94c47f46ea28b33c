"""Where a scorer listens: sockets bound before anything else is loaded."""

import ipaddress
import socket

from knownat.errors import ConfigError

_BACKLOG = 2_048


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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
