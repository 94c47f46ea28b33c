"""Answers as they go over the wire."""

import msgspec
from fastapi import Response
from starlette.types import Send

from serving.errors import ApiError

JSON = "application/json"
JSON_HEADER = (b"content-type", JSON.encode())


def error_content(error: ApiError) -> bytes:
    """Lay an error out as every route does; what the client sent is in none."""
    told = {"code": error.code, "message": error.message, "details": list(error.details)}
    return msgspec.json.encode({"error": told})


def error_headers(error: ApiError) -> list[tuple[bytes, bytes]]:
    """Return an error's headers, all but the length."""
    return [JSON_HEADER, *((name.encode(), value.encode()) for name, value in error.headers.items())]


def error_response(error: ApiError) -> Response:
    """Make an error's response, with the headers it asks for."""
    return Response(
        error_content(error), status_code=error.status, media_type=JSON, headers=dict(error.headers)
    )


async def send_error(send: Send, error: ApiError) -> None:
    """Send an error from outside the app's stack."""
    content = error_content(error)
    headers = [*error_headers(error), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
