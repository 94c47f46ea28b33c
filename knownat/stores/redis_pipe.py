"""Questions to Redis from one event loop, over one connection, answered in the order they were asked.

Nobody waits for a turn: what is asked while answers are on their way is sent at once. One timer serves
all questions. What Redis does not answer in time costs it the connection, so that a late answer can not
be taken for the next one; whoever still has time then is asked for again over a new one.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from knownat.stores.redis_login import RedisLogin
from knownat.stores.redis_wire import refuse_login
from knownat.stores.resp import Incomplete, NotRedis, parse


class _Question:
    __slots__ = ("again", "answer", "command", "deadline")

    def __init__(self, command: bytes, answer: asyncio.Future[object], deadline: float) -> None:
        self.command = command
        self.answer = answer
        self.deadline = deadline
        self.again = False

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class _Link(asyncio.Protocol):
    """One connection. After it told that it is lost, it tells nothing more."""

    def __init__(self, lost: Callable[["_Link", OSError], None]) -> None:
        self.asked: deque[_Question] = deque()
        self._lost = lost
        self._over = False
        self._rest = b""
        self._needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take in the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, question: _Question) -> None:
        self.asked.append(question)
        self._transport.write(question.command)

    def data_received(self, data: bytes) -> None:
        """Take in some bytes, and give out the answers that are whole."""
        if self._over:
            return
        self._rest += data
        if len(self._rest) < self._needed:
            return
        try:
            self._give_out()
        except NotRedis as error:
            # Asking again would not help: what speaks there is no Redis.
            while self.asked:
                self.asked.popleft().fail(error)
            self.end(error)

    def _give_out(self) -> None:
        data, at = self._rest, 0
        self._rest, self._needed = b"", 0
        while at < len(data):
            try:
                answer, at = parse(data, at)
            except Incomplete as more:
                self._rest, self._needed = data[at:], more.needed - at
                return
            if not self.asked:
                raise NotRedis("Redis answered more than it was asked")
            question = self.asked.popleft()
            if not question.answer.done():
                question.answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the other side is gone."""
        self.end(exc if isinstance(exc, OSError) else ConnectionResetError("the connection was closed"))

    def end(self, error: OSError) -> None:
        """Give the connection up."""
        if not self._over:
            self._over = True
            self._transport.abort()
            self._lost(self, error)


class RedisPipe:
    """A connection that is made when it is needed, and made again when it was lost; of the running loop."""

    def __init__(self, login: RedisLogin, *, connect_seconds: float) -> None:
        self._login = login
        self._connect_seconds = connect_seconds
        self._loop = asyncio.get_running_loop()
        self._link: _Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._unsent: list[_Question] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def ask(self, command: bytes, seconds: float) -> asyncio.Future[object]:
        """Send a packed command; the future gets its answer, an error answer as a value.

        It fails with an OSError: a TimeoutError if the answer is not in after so many seconds, another
        if no connection could be made, or what came was no answer.
        """
        question = _Question(command, self._loop.create_future(), self._loop.time() + seconds)
        if self._link is not None:
            self._link.send(question)
        else:
            self._unsent.append(question)
            self._connect()
        if self._timer is None or question.deadline < self._timer_at:
            self._wake_at(question.deadline)
        return question.answer

    def close(self) -> None:
        """End the connection; what waits for an answer gets none."""
        closed = ConnectionAbortedError("the connection was closed")
        if self._connecting is not None:
            self._connecting.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for question in self._waiting():
            question.fail(closed)
        self._unsent.clear()
        if self._link is not None:
            self._link.asked.clear()
            self._link.end(closed)

    def _waiting(self) -> list[_Question]:
        return [*(self._link.asked if self._link is not None else ()), *self._unsent]

    def _connect(self) -> None:
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._connect_seconds):
                link = await self._reach()
                await self._log_in(link)
        except OSError as error:
            unsent, self._unsent = self._unsent, []
            for question in unsent:
                question.fail(error)
        else:
            self._link = link
            unsent, self._unsent = self._unsent, []
            for question in unsent:
                link.send(question)
        finally:
            self._connecting = None

    async def _reach(self) -> _Link:
        login, encryption = self._login, self._login.encryption()
        host = None if encryption is None else login.host
        if login.path is None:
            _, link = await self._loop.create_connection(
                lambda: _Link(self._lose), login.host, login.port, ssl=encryption, server_hostname=host
            )
        else:
            _, link = await self._loop.create_unix_connection(lambda: _Link(self._lose), login.path)
        return link

    async def _log_in(self, link: _Link) -> None:
        commands = self._login.commands()
        said = [_Question(command, self._loop.create_future(), 0.0) for command in commands]
        try:
            for question in said:
                # It is lost with its link, and not asked again over another.
                question.again = True
                link.send(question)
            for question in said:
                refuse_login(await question.answer)
        except BaseException as error:
            link.end(error if isinstance(error, OSError) else ConnectionAbortedError("no login"))
            raise

    def _lose(self, link: _Link, error: OSError) -> None:
        """Ask once more what was not answered: that a connection ended says nothing about Redis now."""
        if self._link is link:
            self._link = None
        for question in link.asked:
            if question.again:
                question.fail(error)
            elif not question.answer.done():
                question.again = True
                self._unsent.append(question)
        link.asked.clear()
        if self._unsent:
            self._connect()

    def _wake_at(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(deadline, self._look), deadline

    def _look(self) -> None:
        """Give up on what is late. Most questions were answered long before the timer that covers them."""
        self._timer = None
        now = self._loop.time()
        late = TimeoutError("no answer in time")
        asked = self._link is not None and any(q.deadline <= now for q in self._link.asked)
        for question in self._waiting():
            if question.deadline <= now:
                question.fail(late)
        self._unsent = [question for question in self._unsent if not question.answer.done()]
        if asked and self._link is not None:
            self._link.end(late)
        if left := [question.deadline for question in self._waiting()]:
            self._wake_at(min(left))
