"""``POST .../predict``, the route that services live on: one callable from a request to its answer.

It stands before the app's own stack, which costs a request as much as reading its features. What it
refuses is laid out as everywhere.
"""

import re
import time
from dataclasses import dataclass

from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from knownat.contract.prediction_log import Role
from knownat.errors import KnownatError, TransformFailed
from serving.access import Access
from serving.bodies import Bodies, ClientGone
from serving.decoding import OneQuestion
from serving.errors import ApiError, BadRequest, DeadlineExceeded, ScoringFailed, UnknownPath
from serving.keys import Scope
from serving.lanes import Claim, Lane, LaneFailed, LaneLate
from serving.lineup import Lineup, gone
from serving.metrics import Metrics
from serving.models import ServedModels
from serving.predictions import Answering, ManyAnswered, Moment, count
from serving.pressure import Pressure
from serving.questions import Question
from serving.responses import JSON_HEADER, send_error
from serving.served import ServedModel
from serving.shadows import Shadows
from serving.wire import send_whole

PATH = re.compile(r"/v1/models/([^/]+)(?:/versions/([^/]+))?/predict")
ROUTE = "predict"
# So few rows are answered in less time than another thread takes to wake up and give the loop back.
_FEW_ROWS = 16
# What each row after the first adds to the time that a request may take.
_SECONDS_A_ROW = 0.001


@dataclass(frozen=True)
class PredictRoute:
    """An ASGI app of one route."""

    models: ServedModels
    access: Access
    answering: Answering
    scoring: Lane
    shadows: Shadows
    metrics: Metrics
    pressure: Pressure
    bodies: Bodies

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one row or many; each answered row is in the prediction log, or counted as dropped."""
        started_ns = time.perf_counter_ns()
        name = ""
        try:
            if (path := PATH.fullmatch(scope["path"])) is None:
                raise UnknownPath("There is no such path.")
            self.pressure.relieve(scope)
            self.access.admit(scope["headers"], Scope.PREDICT)
            name, version = path.groups()
            lineup = self.models.get(name)
            body = await self.bodies.receive(scope["headers"], receive)
            model = lineup.champion if version is None else lineup.version(version)
            question = model.decoder.decode(body)
            role = Role.PINNED
            if version is None:
                model, role = lineup.choose(question)
            # The question's time is fixed before the read, so ttl and request-time features see one instant.
            now_us = self.answering.clock.now_us()
            deadline_ns = time.perf_counter_ns() + _nanoseconds(model, question)
            moment = Moment(now_us, started_ns, deadline_ns)
            refuse_after_sunset(model, lineup, now_us)
            content = await self._answer(model, role, question, moment)
        except ApiError as error:
            self.metrics.observe_request(ROUTE, name, error.status)
            await send_error(send, error)
            return
        except ClientGone:
            self.metrics.observe_request(ROUTE, name, 499)
            return
        self.metrics.observe_request(ROUTE, name, 200)
        await send_whole(scope, send, (JSON_HEADER, *model.sunset_headers), content)
        if lineup.shadows and role is not Role.PINNED:
            self.shadows.offer(lineup, question, moment)

    async def _answer(
        self, model: ServedModel, role: Role, question: OneQuestion | Question, moment: Moment
    ) -> bytes:
        try:
            if isinstance(question, OneQuestion):
                row = await model.features.one(question.keys, moment.now_us, moment.seconds_left)
                return self.answering.one(model, role, question, row, moment)
            many = question
            if many.rows <= _FEW_ROWS and not model.features.waits:
                answer = self._many(model, role, many, moment)
            else:
                claim = Claim()
                claimed = moment._replace(claim=claim)
                answer = await self.scoring.run(
                    lambda: self._many(model, role, many, claimed), deadline=moment.seconds_left, claim=claim
                )
        except LaneLate as error:
            raise DeadlineExceeded(
                f"'{model.name}' could not answer in time. Ask again, or fewer rows."
            ) from error
        except TransformFailed as error:
            raise not_transformed(model, error) from error
        except (KnownatError, LaneFailed) as error:
            raise scoring_failed(model, error) from error
        count(model, answer, moment.now_us)
        return answer.content

    def _many(self, model: ServedModel, role: Role, question: Question, moment: Moment) -> ManyAnswered:
        read = model.features.many(question.keys, moment.now_us)
        return self.answering.many(model, role, question, read, moment)


def _nanoseconds(model: ServedModel, question: OneQuestion | Question) -> int:
    rows = 1 if isinstance(question, OneQuestion) else question.rows
    return int((model.deadline_seconds + _SECONDS_A_ROW * (rows - 1)) * 1e9)


def refuse_after_sunset(model: ServedModel, lineup: Lineup, now_us: int) -> None:
    """Refuse a version whose sunset has come, and point to what serves.

    Raises
    ------
    Gone
        From the sunset on.
    """
    if model.sunset_us is None or now_us < model.sunset_us:
        return
    champion = lineup.champion
    over = champion.sunset_us is not None and now_us >= champion.sunset_us
    raise gone(
        f"Version {model.version} of '{model.name}' was to be used until its sunset.",
        model.name,
        None if over else champion.version,
    )


def not_transformed(model: ServedModel, error: TransformFailed) -> ApiError:
    """Tell a value that an on-demand view cannot take from a view that fails."""
    if error.from_request:
        return BadRequest(f"The request was refused: {error} Send values that it can take.")
    return scoring_failed(model, error)


def scoring_failed(model: ServedModel, error: Exception) -> ScoringFailed:
    """Name what kept a release from scoring; never the values it was given."""
    why = error if isinstance(error, (LaneFailed, TransformFailed)) else type(error).__name__
    return ScoringFailed(f"'{model.name}' {model.version} could not score: {why}.")
