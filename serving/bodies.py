"""Request bodies: bounded, strict JSON."""

from collections.abc import AsyncIterator, Iterable, Mapping

import msgspec
from starlette.types import Message, Receive

from serving.errors import BadRequest, BodyTooLarge

MAX_BODY_BYTES = 8 << 20
"""10 000 rows of a wide request fit; nothing an honest client sends is larger."""


async def read_body(headers: Mapping[str, str], chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """Collect a body of at most ``limit`` bytes, whatever length its headers claim.

    Raises
    ------
    BodyTooLarge
        As soon as more is announced or arrives.
    """
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


class ClientGone(Exception):
    """The client closed the connection before its request was whole; nobody waits for an answer."""


async def receive_body(headers: Iterable[tuple[bytes, bytes]], receive: Receive, limit: int) -> bytes:
    """Do as :func:`read_body` does, from the server's own messages.

    Raises
    ------
    BodyTooLarge
        As soon as more is announced or arrives.
    ClientGone
        If the client goes away before the end.
    """
    message = await receive()
    first: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        if len(first) > limit:
            raise _too_large(limit)
        return first
    announced = {name: value.decode("latin-1") for name, value in headers if name == b"content-length"}
    named = {name.decode(): value for name, value in announced.items()}
    return await read_body(named, _chunks(message, receive), limit)


async def _chunks(message: Message, receive: Receive) -> AsyncIterator[bytes]:
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        yield message.get("body", b"")
        if not message.get("more_body"):
            return
        message = await receive()


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
