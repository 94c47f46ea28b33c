"""Request bodies: bounded in length and time, strict JSON."""

import asyncio
import time
from collections.abc import Iterable

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
        self._most_bytes = most_bytes
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
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a body is received by a task")
        self.arriving[task] = time.monotonic()
        try:
            message = await receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body") or len(body) > self._most_bytes:
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
            if began < since and task not in self._late:
                self._late.add(task)
                task.cancel()

    async def _rest(
        self, headers: Iterable[tuple[bytes, bytes]], message: Message, receive: Receive
    ) -> bytes:
        announced = next((value for name, value in headers if name == b"content-length"), b"")
        if announced.isdigit() and int(announced) > self._most_bytes:
            raise _too_large(self._most_bytes)
        body = bytearray(message.get("body", b""))
        while message.get("more_body") and len(body) <= self._most_bytes:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientGone
            body += message.get("body", b"")
        if len(body) > self._most_bytes:
            raise _too_large(self._most_bytes)
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


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is over {limit} bytes. Send fewer rows at a time.")
