"""Request bodies: bounded in length and time, strict JSON."""

import asyncio
import time
import types
from collections.abc import Awaitable, Coroutine, Generator, Iterable
from typing import Any

import msgspec
from starlette.types import Message, Receive

from serving.errors import BadRequest, BodyTooLarge, ClientTooSlow

MAX_BODY_BYTES = 8 << 20
"""10 000 rows of a wide request fit; nothing an honest client sends is larger."""


class ClientGone(Exception):
    """The client closed the connection before its request was whole; nobody waits for an answer."""


class Bodies:
    """Collects request bodies: of bounded length, in bounded time."""

    def __init__(self, *, most_bytes: int = MAX_BODY_BYTES, most_seconds: float = 10.0) -> None:
        self.most_bytes = most_bytes
        self._most_seconds = most_seconds
        self._late: set[asyncio.Task[object]] = set()
        self.arriving: dict[asyncio.Task[object], float] = {}
        """Since when each request that is not whole yet is waited for."""

    async def receive(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> bytes:
        """Collect one body, whatever length its headers claim.

        Raises
        ------
        BodyTooLarge
            As soon as more is announced or arrives.
        ClientTooSlow
            If it is not whole in time; :meth:`sweep` must be called now and then.
        ClientGone
            If the client goes away before its end.
        """
        first = receive()
        # Nearly every body comes with its head: what must be done for one that does not is not done for it.
        if isinstance(first, Coroutine):
            try:
                pending = first.send(None)
            except StopIteration as arrived:
                message: Message = arrived.value
                body: bytes = message.get("body", b"")
                if message["type"] == "http.request" and not message.get("more_body"):
                    if len(body) > self.most_bytes:
                        raise _too_large(self.most_bytes) from None
                    return body
                first = _given(message)
            else:
                first = _go_on(first, pending)
        return await self._wait_for(headers, first, receive)

    async def _wait_for(
        self, headers: Iterable[tuple[bytes, bytes]], first: Awaitable[Message], receive: Receive
    ) -> bytes:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a body is received by a task")
        self.arriving[task] = time.monotonic()
        try:
            message = await first
            body: bytes = message.get("body", b"")
            if message.get("more_body") or len(body) > self.most_bytes:
                return await self._rest(headers, message, receive)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise ClientTooSlow(f"The body was not whole within {self._most_seconds:g} s.") from None
        finally:
            del self.arriving[task]
            self._late.discard(task)
        if message["type"] != "http.request":
            raise ClientGone
        return body

    def sweep(self) -> None:
        """Give up on requests that are late. A timer for each would cost all the others more."""
        since = time.monotonic() - self._most_seconds
        for task, began in list(self.arriving.items()):
            if began < since:
                self._late.add(task)
                task.cancel()

    async def _rest(
        self, headers: Iterable[tuple[bytes, bytes]], message: Message, receive: Receive
    ) -> bytes:
        announced = next((value for name, value in headers if name == b"content-length"), b"")
        if announced.isdigit() and int(announced) > self.most_bytes:
            raise _too_large(self.most_bytes)
        body = bytearray(message.get("body", b""))
        while message.get("more_body") and len(body) <= self.most_bytes:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientGone
            body += message.get("body", b"")
        if len(body) > self.most_bytes:
            raise _too_large(self.most_bytes)
        return bytes(body)


def parse_json(body: bytes) -> dict[str, object]:
    """Parse a JSON object, refusing what JSON does not have: NaN, Infinity, half surrogates.

    Raises
    ------
    BadRequest
        If it is not one JSON object.
    """
    try:
        document = msgspec.json.decode(body)
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply.") from error
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not UTF-8.") from error
    except msgspec.DecodeError as error:
        # The decoder names what is wrong and the byte it stopped at, never the content.
        raise BadRequest(f"The body is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return document


async def _given(message: Message) -> Message:
    return message


@types.coroutine
def _go_on(begun: Coroutine[Any, Any, Message], pending: Any) -> Generator[Any, Any, Message]:
    """Await a coroutine whose first step was taken, and which waits for ``pending``."""
    try:
        while True:
            try:
                sent = yield pending
            except BaseException as error:
                # Also a cancellation is the coroutine's to see.
                pending = begun.throw(error)
            else:
                pending = begun.send(sent)
    except StopIteration as done:
        message: Message = done.value
        return message


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is over {limit} bytes. Send fewer rows at a time.")
