"""Request heads of bounded length and time: uvicorn bounds neither, so one caller could fill the memory.

The usual head comes whole in its first packet and costs nothing here; only one that does not is watched.
"""

import asyncio
from typing import cast

from serving.wire import WholeAnswers

MOST_HEAD_BYTES = 65_536
HEAD_SECONDS = 10.0


class BoundedHeads(WholeAnswers):
    """The scorer's protocol, giving up on a head that is too long or too late."""

    _in_head = False
    _head_bytes = 0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take in a connection; who opens one has something to ask."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self._have_it()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Take in a whole head."""
        self._in_head = False
        if self._late is not None:
            self._have_it()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take in some bytes."""
        before, in_body = self.cycle, self.cycle is not None and self.cycle.more_body
        super().data_received(data)
        if self._in_head:
            if self.cycle is before and not in_body:
                # Behind the end of another request nobody knows where in these bytes the head begins.
                self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
            elif self._late is None:
                self._wait()

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self._owes_an_answer():
            self._wait()
        else:
            self._refuse(b"408 Request Timeout")

    def _have_it(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            if not self._owes_an_answer():
                head = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                self.transport.write(head % status)
            self.transport.close()

    def _owes_an_answer(self) -> bool:
        # A refusal sent now would be taken for the answer to the request before it.
        return self.cycle is not None and not self.cycle.response_complete
