"""One exchange with Redis that ends by its deadline, whatever the server does.

redis-py connects, greets and authenticates; its time limits are for single reads from the socket,
so a server that sends a byte now and then would hold a caller for ever. The parser here, which
redis-py takes as a parameter, gives every read what is left of one deadline. It never gives a
connection back after an error: an answer that comes late can not be taken for the next one.
"""

import socket
import time
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from knownat.errors import StoreFull, StoreUnavailable

_READ_BYTES = 1 << 18
_NESTING = 4
_MOST_ANSWER_BYTES = 1 << 30
_FEW = 8


class ServerError(redis.ResponseError):
    """Redis refused a command; ``code`` is the first word of what it said."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class DeadlineParser:
    """A RESP2 parser whose every wait ends at ``deadline``, a time of ``time.monotonic``."""

    def __init__(self) -> None:
        self.deadline = 0.0
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._at = 0

    def on_connect(self, connection: Any) -> None:
        """Take the connection's socket, as every parser of redis-py does."""
        self._socket = connection._sock
        self._buffer.clear()
        self._at = 0

    def on_disconnect(self) -> None:
        """Forget the socket."""
        self._socket = None

    def can_read(self, timeout: float = 0) -> bool:
        """Tell whether bytes are left over; it waits for none, whatever the timeout."""
        del timeout
        return self._at < len(self._buffer)

    def finish(self) -> None:
        """Refuse what follows the last answer: it would be taken for the next one."""
        if self._at < len(self._buffer):
            raise redis.InvalidResponse("Redis answered more than it was asked")

    def read_response(self, disable_decoding: bool = False) -> object:
        """Read one answer; what is not a number stays bytes."""
        del disable_decoding
        answer = self._answer(0)
        if self._at == len(self._buffer):
            self._buffer.clear()
            self._at = 0
        return answer

    def _answer(self, depth: int) -> object:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ServerError(rest.decode("utf-8", "replace"))
        number = _number(rest)
        if kind == b":":
            return number
        if kind == b"$":
            return None if number == -1 else self._bulk(number)
        if kind == b"*" and depth < _NESTING:
            return None if number == -1 else [self._answer(depth + 1) for _ in range(number)]
        raise redis.InvalidResponse("the answer is not Redis's protocol")

    def _line(self) -> bytes:
        end = self._buffer.find(b"\r\n", self._at)
        while end < 0:
            if len(self._buffer) - self._at > 65_536:
                raise redis.InvalidResponse("the answer is not Redis's protocol")
            searched = max(self._at, len(self._buffer) - 1)
            self._receive()
            end = self._buffer.find(b"\r\n", searched)
        line = bytes(self._buffer[self._at : end])
        self._at = end + 2
        return line

    def _bulk(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_ANSWER_BYTES:
            raise redis.InvalidResponse("the answer is not Redis's protocol")
        end = self._at + size
        while len(self._buffer) < end + 2:
            self._receive()
        if self._buffer[end : end + 2] != b"\r\n":
            raise redis.InvalidResponse("the answer is not Redis's protocol")
        with memoryview(self._buffer) as view:
            content = bytes(view[self._at : end])
        self._at = end + 2
        return content

    def _receive(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0 or self._socket is None:
            raise TimeoutError("deadline")
        limit = self._socket.gettimeout()
        if limit is None or left < limit:
            self._socket.settimeout(left)
        data = self._socket.recv(_READ_BYTES)
        if limit is None or left < limit:
            self._socket.settimeout(limit)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += data


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise redis.InvalidResponse("the answer is not Redis's protocol") from error


class RedisWire:
    """Connections to one Redis, each call within one deadline; safe for threads."""

    def __init__(self, url: str, *, socket_seconds: float, deadline_seconds: float) -> None:
        options: dict[str, Any] = {
            "socket_timeout": socket_seconds,
            "socket_connect_timeout": socket_seconds,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,  # Or every new connection would take two round trips more.
        }
        self._pool = redis.ConnectionPool.from_url(url, **options)
        self._seconds = deadline_seconds
        self._idle: deque[tuple[Any, DeadlineParser]] = deque()
        kwargs = self._pool.connection_kwargs
        self.name = str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")

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
            except (redis.ConnectionError, OSError) as error:
                # A connection that was idle while Redis restarted says nothing about Redis now.
                timed_out = isinstance(error, (redis.TimeoutError, TimeoutError))
                late = time.monotonic() >= deadline
                if timed_out or fresh or late or isinstance(error, redis.AuthenticationError):
                    raise self.unavailable(error) from error
            except redis.RedisError as error:
                raise self.unavailable(error) from error

    def _exchange(self, commands: Sequence[bytes], deadline: float) -> list[object]:
        try:
            connection, parser = self._idle.pop()
        except IndexError:
            connection, parser = self._connection()
        parser.deadline = deadline
        try:
            connection.send_packed_command(commands)
            answers = [_answer(connection) for _ in commands]
            parser.finish()
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append((connection, parser))
        return answers

    def _connection(self) -> tuple[Any, DeadlineParser]:
        parser = DeadlineParser()
        kwargs = {**self._pool.connection_kwargs, "parser_class": lambda **_: parser}
        return self._pool.connection_class(**kwargs), parser

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
        while self._idle:
            self._idle.pop()[0].disconnect()


def _answer(connection: Any) -> object:
    try:
        return connection.read_response()
    except ServerError as refused:
        return refused


def pack(
    *parts: bytes, keys: Sequence[bytes] = (), prefix: bytes = b"", values: Sequence[bytes] = ()
) -> bytes:
    """Pack one command as Redis reads it: its words, then keys behind a prefix, then values."""
    count = len(parts) + len(keys) + len(values)
    return b"".join((b"*%d\r\n" % count, _strings(parts), _strings(keys, prefix), _strings(values)))


def _strings(parts: Sequence[bytes], prefix: bytes = b"") -> bytes:
    if len(parts) < _FEW:
        return b"".join([b"$%d\r\n%b%b\r\n" % (len(part) + len(prefix), prefix, part) for part in parts])
    # Keys and rows have few lengths, so what stands before each is made once a length.
    heads = {size: b"$%d\r\n%b" % (size + len(prefix), prefix) for size in set(map(len, parts))}
    if len(heads) >= _FEW:
        return b"".join([heads[len(part)] + part + b"\r\n" for part in parts])
    # The keys of one view have one length and stand together: they are joined without a look at each.
    runs = groupby(parts, key=len) if len(heads) > 1 else zip(heads, (parts,), strict=True)
    return b"".join([heads[size] + (b"\r\n" + heads[size]).join(run) + b"\r\n" for size, run in runs])
