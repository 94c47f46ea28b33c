"""Request bodies: bounded, strict JSON."""

from collections.abc import AsyncIterator, Mapping

import msgspec

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
