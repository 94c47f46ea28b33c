"""Ask an app one thing, without a socket."""

import asyncio

import httpx
from starlette.types import ASGIApp


def ask(app: ASGIApp, method: str, path: str, **given: object) -> httpx.Response:
    """Make one request to an app and return its answer."""

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://scorer") as client:
            return await client.request(method, path, **given)

    return asyncio.run(go())
