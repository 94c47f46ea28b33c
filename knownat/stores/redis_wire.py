"""One exchange with Redis that ends by its deadline, whatever the server does.

Every wait gets what is left of one deadline, so a server that sends a byte now and then cannot hold a
caller. A connection is never used again after an error: an answer that comes late can not be taken for
the next one. The client package is not used: its import takes longer than all else that a scorer does
before it is ready.
"""

import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Self

from knownat.errors import StoreFull, StoreUnavailable
from knownat.stores.redis_login import RedisLogin
from knownat.stores.resp import Incomplete, NotRedis, ServerError, parse

_READ_BYTES = 1 << 18


class LoginRefused(OSError):
    """Redis did not take what a new connection says first."""


class _Connection:
    """A socket, and what came over it beyond the last answer."""

    def __init__(self, bound: socket.socket, socket_seconds: float) -> None:
        self._socket = bound
        self._seconds = socket_seconds
        self._buffer = bytearray()
        # Room of its own: what is made anew for each answer, the C library hands back and gets again.
        self._room = memoryview(bytearray(_READ_BYTES))

    @classmethod
    def to(cls, login: RedisLogin, deadline: float, socket_seconds: float) -> Self:
        """Connect and log in."""
        wait = _wait(deadline, socket_seconds)
        connection = cls(_connected(login, wait), socket_seconds)
        try:
            if commands := login.commands():
                for answer in connection.exchange(commands, deadline):
                    refuse_login(answer)
        except BaseException:  # Also an interrupt: the login may be half said.
            connection.close()
            raise
        return connection

    def exchange(self, commands: Sequence[bytes], deadline: float) -> list[object]:
        """Send commands at once and read an answer to each; an error answer is a value."""
        self._socket.settimeout(_wait(deadline, self._seconds))
        self._socket.sendall(b"".join(commands))
        answers = [self._answer(deadline) for _ in commands]
        if self._buffer:
            # It would be taken for the next answer.
            raise NotRedis("Redis answered more than it was asked")
        return answers

    def close(self) -> None:
        self._socket.close()

    def _answer(self, deadline: float) -> object:
        needed = 1
        while True:
            while len(self._buffer) < needed:
                self._receive(deadline)
            try:
                answer, end = parse(self._buffer)
            except Incomplete as more:
                needed = more.needed
            else:
                del self._buffer[:end]
                return answer

    def _receive(self, deadline: float) -> None:
        self._socket.settimeout(_wait(deadline, self._seconds))
        size = self._socket.recv_into(self._room)
        if not size:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += self._room[:size]


class RedisWire:
    """Connections to one Redis, each call within one deadline; safe for threads."""

    def __init__(self, login: RedisLogin, *, socket_seconds: float, deadline_seconds: float) -> None:
        self._login = login
        self._socket_seconds = socket_seconds
        self._seconds = deadline_seconds
        self._idle: deque[_Connection] = deque()
        # Feast lets go of a store without a word, and a socket that nobody closed complains.
        weakref.finalize(self, _close_all, self._idle)
        self.name = login.name

    def ask(self, *commands: bytes) -> list[object]:
        """Send packed commands at once and return their answers; an error answer is a value.

        Raises
        ------
        StoreUnavailable
            If the last answer was not in by the deadline, or an answer made no sense.
        """
        deadline = time.monotonic() + self._seconds
        while True:
            fresh = not self._idle
            try:
                return self._exchange(commands, deadline)
            except OSError as error:
                # A connection that was idle while Redis restarted says nothing about Redis now.
                final = isinstance(error, (TimeoutError, NotRedis, LoginRefused))
                if final or fresh or time.monotonic() >= deadline:
                    raise self.unavailable(error) from error

    def _exchange(self, commands: Sequence[bytes], deadline: float) -> list[object]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _Connection.to(self._login, deadline, self._socket_seconds)
        try:
            answers = connection.exchange(commands, deadline)
        except BaseException:  # Also an interrupt: an answer still on its way would be taken for the next.
            connection.close()
            raise
        self._idle.append(connection)
        return answers

    def unavailable(self, error: Exception) -> StoreUnavailable:
        """Name what happened and what to do."""
        return StoreUnavailable(
            f"Redis at {self.name} gave no usable answer within {self._seconds:g} s "
            f"({type(error).__name__}: {error}). Look whether it runs and is reachable; asking again is safe."
        )

    def check(self, answers: Sequence[object]) -> None:
        """Raise the first error among answers.

        Raises
        ------
        StoreFull
            If Redis is at its memory limit.
        StoreUnavailable
            If it refused for another reason.
        """
        for answer in answers:
            if isinstance(answer, ServerError):
                if answer.code == "OOM":
                    raise StoreFull(
                        f"Redis at {self.name} is at its maxmemory: {answer}. Raise it, or delete views."
                    )
                raise self.unavailable(answer)

    def close(self) -> None:
        """Close every idle connection."""
        _close_all(self._idle)


def _close_all(connections: deque[_Connection]) -> None:
    while connections:
        connections.pop().close()


def refuse_login(answer: object) -> None:
    """Refuse to go on with a connection whose first commands were not answered OK."""
    if isinstance(answer, ServerError):
        raise LoginRefused(str(answer))
    if answer != b"OK":
        raise NotRedis("the answer is not Redis's protocol")


def _connected(login: RedisLogin, seconds: float) -> socket.socket:
    if login.path is None:
        bound = socket.create_connection((login.host, login.port), timeout=seconds)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    else:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if login.path is not None:
            bound.settimeout(seconds)
            bound.connect(login.path)
        encryption = login.encryption()
        return bound if encryption is None else _encrypted(bound, encryption, login.host)
    except BaseException:  # Also an interrupt: nobody else knows of this socket.
        bound.close()
        raise


def _encrypted(bound: socket.socket, encryption: ssl.SSLContext, host: str) -> socket.socket:
    return encryption.wrap_socket(bound, server_hostname=host)


def _wait(deadline: float, most: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("deadline")
    return min(left, most)
