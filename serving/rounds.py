"""Predictions that were asked for in one round of the event loop, answered together.

A request of one row whole in its packets needs no task of its own. Those that come together are decoded
one after another, read from the store in one go, scored one after another and logged with one write; then
their answers leave. Each step finds its code and the model's trees where the one before left them, in the
processor's caches, which is most of what a prediction costs. Each request is let in, refused, timed
and counted as on its own (:mod:`serving.predict_route`), and one that fails takes no other with it.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar, cast

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from knownat.errors import KnownatError
from knownat.stores.packed_read import JointRead, OneRow
from serving.decoding import OneQuestion
from serving.door import Asked
from serving.errors import ApiError
from serving.predict_route import PredictRoute, unanswered
from serving.predictions import ScoredOne, content_of
from serving.reading import ReadFailed
from serving.responses import error_content, error_headers, send_error
from serving.wire import Call, Headers, send_whole

T = TypeVar("T")
Group = Sequence[tuple[Call, Asked]]

# More at once would gain little, and the first of them would wait for the last.
_TOGETHER = 16
# What is longer asks for many rows, or for none.
_MOST_BYTES = 16_384


class Rounds:
    """Gathers calls and answers them; ``beside`` wraps an app as the server's own errors are answered."""

    def __init__(self, route: PredictRoute, beside: Callable[[ASGIApp], ASGIApp]) -> None:
        self._route = route
        self._door = route.door
        self._beside = beside
        self._calls: list[Call] = []
        self.most_bytes = min(_MOST_BYTES, route.door.bodies.most_bytes)
        """What is longer goes the way on which it is counted while it comes in."""

    def takes(self, scope: Connection) -> bool:
        """Tell whether a request is one to gather, by its head."""
        return bool(
            scope["method"] == "POST" and scope["path"].endswith("/predict") and not scope["query_string"]
        )

    def add(self, call: Call) -> None:
        """Take in a call; it is answered when the loop has read what else came."""
        self._calls.append(call)
        if len(self._calls) == 1:
            asyncio.get_running_loop().call_soon(self._answer_all)

    def _answer_all(self) -> None:
        calls, self._calls = self._calls, []
        for first in range(0, len(calls), _TOGETHER):
            self._answer(calls[first : first + _TOGETHER])

    def _answer(self, calls: Sequence[Call]) -> None:
        groups: dict[str, list[tuple[Call, Asked]]] = {}
        for call in calls:
            asked = self._attempt([call], partial(self._understand, call))
            if asked is None:
                continue
            if isinstance(asked.question, OneQuestion) and asked.model.features.joins:
                groups.setdefault(asked.model.digest, []).append((call, asked))
            else:
                self._leave(call, asked)
        for group in groups.values():
            self._attempt([call for call, _ in group], partial(self._read, group))

    def _understand(self, call: Call) -> Asked:
        call.model, version = self._door.admit(call.scope)
        lineup = self._door.models.get(call.model)
        return self._door.understand(lineup, version, call.body, call.started_ns)

    def _read(self, group: Group) -> None:
        keys = [asked.question.keys for _, asked in group]
        seconds = min(asked.moment.seconds_left for _, asked in group)
        group[0][1].model.features.together(keys, seconds, partial(self._have, group))

    def _have(self, group: Group, found: JointRead | ReadFailed) -> None:
        """Go on with what the store gave: at once, or in a later round."""
        rows = [
            (call, asked, row)
            for place, (call, asked) in enumerate(group)
            if (row := self._attempt([call], partial(self._row, call, asked, found, place))) is not None
        ]
        scored = [
            (call, asked, one)
            for call, asked, row in rows
            if (one := self._attempt([call], partial(self._score, asked, row))) is not None
        ]
        if not scored:
            return
        logged = partial(_log, [one for _, _, one in scored])
        if self._attempt([call for call, _, _ in scored], logged):
            for call, asked, one in scored:
                self._attempt([call], partial(self._send, call, asked, one))

    def _row(self, call: Call, asked: Asked, found: JointRead | ReadFailed, place: int) -> OneRow | None:
        row = asked.model.features.row(asked.question.keys, asked.moment.now_us, found, place)
        if row is None:
            self._leave(call, asked)
        return row

    def _score(self, asked: Asked, row: OneRow) -> ScoredOne:
        _, model, role, question, moment = asked
        try:
            return self._route.answering.score(model, role, cast("OneQuestion", question), row, moment)
        except KnownatError as error:
            raise unanswered(model, error) from error

    def _send(self, call: Call, asked: Asked, one: ScoredOne) -> None:
        content = content_of(one)
        headers = self._door.answered(asked)
        if not call.answer(headers, content):
            call.leave(_sending(headers, content))
        self._route.let_shadows_see(asked)

    def _leave(self, call: Call, asked: Asked) -> None:
        """Let a task of its own answer what cannot be answered with others."""

        async def answer(scope: Connection, _: Receive, send: Send) -> None:
            try:
                content = await self._route.answer(asked)
            except ApiError as error:
                await self._door.refuse(send, call.model, error)
                return
            await send_whole(scope, send, self._door.answered(asked), content)
            self._route.let_shadows_see(asked)

        call.leave(self._beside(answer))

    def _attempt(self, calls: Sequence[Call], step: Callable[[], T]) -> T | None:
        """Take a step; where it fails, those whose step it was are told, and nobody else is held up."""
        try:
            return step()
        except ApiError as error:
            for call in calls:
                self._door.count(call.model, error)
                if not call.answer(error_headers(error), error_content(error), error.status):
                    call.dismiss(_refusing(error))
        except Exception as error:
            for call in calls:
                call.dismiss(self._beside(_raising(error)))
        return None


def _log(scored: Sequence[ScoredOne]) -> bool:
    scored[0].model.log.append_apart([one.logged for one in scored])
    return True


def _sending(headers: Headers, content: bytes) -> ASGIApp:
    async def send_it(scope: Connection, _: Receive, send: Send) -> None:
        await send_whole(scope, send, headers, content)

    return send_it


def _refusing(error: ApiError) -> ASGIApp:
    async def refuse(_scope: Connection, _receive: Receive, send: Send) -> None:
        await send_error(send, error)

    return refuse


def _raising(error: Exception) -> ASGIApp:
    async def fail(_scope: Connection, _receive: Receive, _send: Send) -> None:
        raise error

    return fail
