"""Answers that leave as one piece: head and body in one write, where ASGI's two events are two.

The second write costs a request as much as finding its features: a system call, a packet, and the
client woken up for a head without a body. A route that has its whole answer gives it to ``scope``'s
extension; where that is not there, or says no, ASGI's own way is open as before.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.pressure import AHEAD, Pressure

Headers = Iterable[tuple[bytes, bytes]]
WholeAnswer = Callable[[Headers, bytes], bool]

EXTENSION = "knownat.whole_answer"


class WholeAnswers(HttpToolsProtocol):
    """Uvicorn's protocol, with the two extensions in each request's scope."""

    def __init__(self, *given: Any, pressure: Pressure, **named: Any) -> None:
        super().__init__(*given, **named)
        self._pressure = pressure

    def on_headers_complete(self) -> None:
        """Take in a request's head."""
        before, ahead = self.cycle, self._pressure.waiting
        super().on_headers_complete()
        if self.cycle is not before:
            # The request's task starts after this callback, so it finds them.
            extensions: Any = {EXTENSION: partial(_write_whole, self.cycle), AHEAD: ahead}
            self.cycle.scope["extensions"] = extensions

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Not the server's set of tasks: one that has ended stays in it until the loop's next round, and
        # requests that come meanwhile would find a crowd that is gone.
        self._pressure.waiting += 1
        super()._start_asgi_task(cycle, partial(_counted, app, self._pressure))


async def _counted(app: ASGIApp, pressure: Pressure, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await app(scope, receive, send)
    finally:
        pressure.waiting -= 1


def _write_whole(cycle: RequestResponseCycle, headers: Headers, body: bytes) -> bool:
    """Send a 200 and end the request as ``cycle.send`` would; False if this is not the plain case."""
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or not cycle.keep_alive:
        return False
    lines = [name + b": " + value for name, value in (*cycle.default_headers, *headers)]
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(
        b"HTTP/1.1 200 OK\r\n%b\r\ncontent-length: %d\r\n\r\n%b" % (b"\r\n".join(lines), len(body), body)
    )
    cycle.message_event.set()
    cycle.on_response()
    return True


async def send_whole(scope: Scope, send: Send, headers: Headers, body: bytes) -> None:
    """Send a 200 with its body, in one piece if the server can."""
    extensions = scope.get("extensions")
    if extensions and EXTENSION in extensions and extensions[EXTENSION](headers, body):
        return
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
