"""The least that a prediction over HTTP can cost here: uvicorn, and the same answer for everybody."""

from starlette.types import Receive, Scope, Send

_VIEW = b'{"status":"present","age_seconds":3600.0}'
_BODY = (
    b'{"model":"basket","version":"2","request_id":"7f0f0f0f0f0f0f0f","predictions":[{"prediction_id":'
    b'"basket.0123456789abcdef0000000001.0123456789abcdef","score":0.5123456789012345,"degraded":false,'
    b'"views":{"orders":%b,"visits":%b,"returns":%b}}]}' % (_VIEW, _VIEW, _VIEW)
)
_HEAD = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


async def app(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read the request, and answer as our scorer would, without a thought."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
    await send({"type": "http.response.body", "body": _BODY})
