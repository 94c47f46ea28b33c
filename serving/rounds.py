"""Predictions that were asked for in one round of the event loop, answered together.

A request of one row whole in its packets needs no task of its own. Those that come together are decoded
one after another, read from the store in one go, scored one after another and logged with one write; then
their answers leave. Each step finds its code and the model's trees where the one before left them, in the
processor's caches, which is most of what a prediction costs. Each request is let in, refused, timed
and counted as on its own (:mod:`serving.predict_route`), and one that fails takes no other with it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from knownat.errors import KnownatError
from knownat.stores.packed_read import JointRead, OneRow
from serving.decoding import OneQuestion
from serving.door import Asked, is_question
from serving.errors import ApiError
from serving.predict_route import PredictRoute, unanswered
from serving.predictions import ScoredOne, content_of
from serving.reading import ReadFailed
from serving.responses import error_content, error_headers, send_error
from serving.stored_features import JointFeatures
from serving.wire import Call, Headers, send_whole

T = TypeVar("T")

_logger = logging.getLogger(__name__)
# More at once would gain little, and the first of them would wait for the last.
_TOGETHER = 16
# What is longer asks for many rows, or for none.
_MOST_BYTES = 16_384


class _Joined(NamedTuple):
    """A call whose features are read together with others'."""

    call: Call
    asked: Asked
    question: OneQuestion
    features: JointFeatures


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
        return is_question(scope) and not scope["query_string"]

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
        groups: dict[str, list[_Joined]] = {}
        for call in calls:
            asked = self._attempt([call], partial(self._understand, call))
            if asked is None:
                continue
            question, features = asked.question, asked.model.features
            if isinstance(question, OneQuestion) and isinstance(features, JointFeatures):
                groups.setdefault(asked.model.digest, []).append(_Joined(call, asked, question, features))
            else:
                self._leave(call, asked)
        for group in groups.values():
            self._attempt([joined.call for joined in group], partial(self._read, group))

    def _understand(self, call: Call) -> Asked:
        call.model, version = self._door.admit(call.scope)
        lineup = self._door.models.get(call.model)
        return self._door.understand(lineup, version, call.body, call.started_ns)

    def _read(self, group: Sequence[_Joined]) -> None:
        keys = [joined.question.keys for joined in group]
        # Of one release each may take as long, and the first was asked first.
        first = group[0]
        first.features.together(keys, first.asked.moment.seconds_left, partial(self._have, group))

    def _have(self, group: Sequence[_Joined], found: JointRead | ReadFailed) -> None:
        """Go on with what the store gave: at once, or in a later round."""
        rows = [
            (joined, row)
            for place, joined in enumerate(group)
            if (row := self._attempt([joined.call], partial(self._row, joined, found, place))) is not None
        ]
        scored = [
            (joined, one)
            for joined, row in rows
            if (one := self._attempt([joined.call], partial(self._score, joined, row))) is not None
        ]
        if not scored:
            return
        logged = partial(_log, [one for _, one in scored])
        if self._attempt([joined.call for joined, _ in scored], logged):
            for joined, one in scored:
                self._attempt([joined.call], partial(self._send, joined.call, joined.asked, one))

    def _row(self, joined: _Joined, found: JointRead | ReadFailed, place: int) -> OneRow | None:
        row = joined.features.row(joined.question.keys, joined.asked.moment.now_us, found, place)
        if row is None:
            self._leave(joined.call, joined.asked)
        return row

    def _score(self, joined: _Joined, row: OneRow) -> ScoredOne:
        _, model, role, _, moment = joined.asked
        try:
            return self._route.answering.score(model, role, joined.question, row, moment)
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
        """Take a step; where it fails, those whose step it was are told, and nobody else is held up.

        Who was answered already is told nothing more: then the log alone says what went wrong behind it.
        """
        try:
            return step()
        except Exception as error:
            waiting = [call for call in calls if not call.over]
            if not waiting:
                _logger.exception("A step failed behind an answer.")
            for call in waiting:
                self._refuse(call, error)
        return None

    def _refuse(self, call: Call, error: Exception) -> None:
        if not isinstance(error, ApiError):
            call.dismiss(self._beside(_raising(error)))
            return
        self._door.count(call.model, error)
        if not call.answer(error_headers(error), error_content(error), error.status):
            call.dismiss(_refusing(error))


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
