"""Answers that leave as one piece: head and body in one write, where ASGI's two events are two.

The second write costs a request as much as finding its features: a system call, a packet, and the
client woken up for a head without a body. A route that has its whole answer gives it to ``scope``'s
extension; where that is not there, or says no, ASGI's own way is open as before.

Requests that came whole are gathered, by who is there to take them, and need no task.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from serving.pressure import AHEAD, Pressure

Headers = Iterable[tuple[bytes, bytes]]
WholeAnswer = Callable[[Headers, bytes], bool]

EXTENSION = "knownat.whole_answer"


class Call:
    """A request that came whole, and waits for its answer; exactly one of its methods gives it."""

    __slots__ = ("_cycle", "_protocol", "body", "model", "over", "started_ns")

    def __init__(self, protocol: "WholeAnswers", cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self.body = bytes(cycle.body)
        self.started_ns = time.perf_counter_ns()
        self.model = ""
        """The model it asks for, once that is known."""
        self.over = False
        """Whether its answer is on its way, by whichever method."""

    @property
    def scope(self) -> Scope:
        """What ASGI tells of its head."""
        return cast("Scope", self._cycle.scope)

    def answer(self, headers: Headers, body: bytes, status: int = 200) -> bool:
        """Send an answer, or return False if it cannot be sent in one piece; then it must be left."""
        sent = _write_whole(self._cycle, headers, body, status)
        if sent:
            self._end()
        return sent

    def leave(self, app: ASGIApp) -> None:
        """Let an app answer it, in a task."""
        self._end()
        self._protocol.begin(self._cycle, app)

    def dismiss(self, app: ASGIApp) -> None:
        """Let an app refuse it, in a task, behind which nobody waits.

        If the refused counted until they were told, those that come meanwhile would find a crowd, be
        refused as well, and be the crowd that the next ones find: nobody would be answered any more.
        """
        self._end()
        self._protocol.begin_uncounted(self._cycle, app)

    def _end(self) -> None:
        self.over = True
        self._protocol.pressure.waiting -= 1


class Gathering(Protocol):
    """What takes calls that come together; :class:`serving.rounds.Rounds` is one."""

    @property
    def most_bytes(self) -> int:
        """How long a body may be that is gathered."""
        ...

    def takes(self, scope: Scope) -> bool:
        """Tell whether a request is one to gather, by its head."""
        ...

    def add(self, call: Call) -> None:
        """Take in a call, which is answered soon."""
        ...


class WholeAnswers(HttpToolsProtocol):
    """Uvicorn's protocol, with the two extensions in each request's scope, and calls that are gathered."""

    def __init__(
        self, *given: Any, pressure: Pressure, gathering: Gathering | None = None, **named: Any
    ) -> None:
        super().__init__(*given, **named)
        self.pressure = pressure
        self._gathering = gathering
        self._in_head_end = False
        self._held: RequestResponseCycle | None = None

    def data_received(self, data: bytes) -> None:
        """Take in some bytes."""
        super().data_received(data)
        if self._held is not None:
            # Its body is still to come.
            held, self._held = self._held, None
            self.begin(held, self.app)

    def on_headers_complete(self) -> None:
        """Take in a request's head."""
        before, ahead = self.cycle, self.pressure.waiting
        self._in_head_end = True
        super().on_headers_complete()
        self._in_head_end = False
        if self.cycle is not before:
            # The request is answered after this callback, so whoever does finds them.
            extensions: Any = {EXTENSION: partial(_write_whole, self.cycle), AHEAD: ahead}
            self.cycle.scope["extensions"] = extensions

    def on_message_complete(self) -> None:
        """Take in a request's end."""
        super().on_message_complete()
        held, self._held = self._held, None
        if held is None:
            return
        if self._gathering is not None and len(held.body) <= self._gathering.most_bytes:
            self.pressure.waiting += 1
            self._gathering.add(Call(self, held))
        else:
            self.begin(held, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        gathered = (
            self._in_head_end
            and self._gathering is not None
            and self._gathering.takes(cast("Scope", cycle.scope))
        )
        if gathered:
            self._held = cycle
        else:
            self.begin(cycle, app)

    def begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start a request's task."""
        # Not the server's set of tasks: one that has ended stays in it until the loop's next round, and
        # requests that come meanwhile would find a crowd that is gone.
        self.pressure.waiting += 1
        super()._start_asgi_task(cycle, partial(_counted, app, self.pressure))

    def begin_uncounted(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start the task of a request that is no pressure."""
        super()._start_asgi_task(cycle, app)


async def _counted(app: ASGIApp, pressure: Pressure, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await app(scope, receive, send)
    finally:
        pressure.waiting -= 1


def _write_whole(cycle: RequestResponseCycle, headers: Headers, body: bytes, status: int = 200) -> bool:
    """Send an answer and end the request as ``cycle.send`` would; False if this is not the plain case."""
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or not cycle.keep_alive:
        return False
    lines = [name + b": " + value for name, value in (*cycle.default_headers, *headers)]
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(
        b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (STATUS_LINE[status], b"\r\n".join(lines), len(body), body)
    )
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
