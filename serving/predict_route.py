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
from serving.bodies import ClientGone, receive_body
from serving.decoding import OneQuestion
from serving.errors import ApiError, BadRequest, ScoringFailed, UnknownPath
from serving.keys import Scope
from serving.lanes import Lane, LaneFailed
from serving.metrics import Metrics
from serving.predictions import Answering, ManyAnswered, Moment, count
from serving.questions import Question
from serving.responses import JSON_HEADER, send_error
from serving.served import ServedModel, ServedModels

PATH = re.compile(r"/v1/models/([^/]+)/predict")
ROUTE = "predict"
# So few rows are answered in less time than another thread takes to wake up and give the loop back.
_FEW_ROWS = 16


@dataclass(frozen=True)
class PredictRoute:
    """An ASGI app of one route."""

    models: ServedModels
    access: Access
    answering: Answering
    scoring: Lane
    metrics: Metrics
    max_body_bytes: int

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one row or many; each answered row is in the prediction log, or counted as dropped."""
        started_ns = time.perf_counter_ns()
        name = ""
        try:
            if (path := PATH.fullmatch(scope["path"])) is None:
                raise UnknownPath("There is no such path.")
            self.access.admit(scope["headers"], Scope.PREDICT)
            name = path[1]
            model = self.models.get(name)
            body = await receive_body(scope["headers"], receive, self.max_body_bytes)
            question = model.decoder.decode(body)
            # The question's time is fixed before the read, so ttl and request-time features see one instant.
            moment = Moment(self.answering.clock.now_us(), started_ns)
            content = await self._answer(model, Role.CHAMPION, question, moment)
        except ApiError as error:
            self.metrics.observe_request(ROUTE, name, error.status)
            await send_error(send, error)
            return
        except ClientGone:
            self.metrics.observe_request(ROUTE, name, 499)
            return
        self.metrics.observe_request(ROUTE, name, 200)
        headers = [JSON_HEADER, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(
        self, model: ServedModel, role: Role, question: OneQuestion | Question, moment: Moment
    ) -> bytes:
        try:
            if isinstance(question, OneQuestion):
                row = await model.features.one(question.keys, moment.now_us)
                return self.answering.one(model, role, question, row, moment)
            many = question
            if many.rows <= _FEW_ROWS and not model.features.waits:
                answer = self._many(model, role, many, moment)
            else:
                answer = await self.scoring.run(lambda: self._many(model, role, many, moment))
        except TransformFailed as error:
            raise _not_transformed(model, error) from error
        except (KnownatError, LaneFailed) as error:
            raise scoring_failed(model, error) from error
        count(model, answer, moment.now_us)
        return answer.content

    def _many(self, model: ServedModel, role: Role, question: Question, moment: Moment) -> ManyAnswered:
        read = model.features.many(question.keys, moment.now_us)
        return self.answering.many(model, role, question, read, moment)


def _not_transformed(model: ServedModel, error: TransformFailed) -> ApiError:
    if error.from_request:
        return BadRequest(f"The request was refused: {error} Send values that it can take.")
    return scoring_failed(model, error)


def scoring_failed(model: ServedModel, error: Exception) -> ScoringFailed:
    """Name what kept a release from scoring; never the values it was given."""
    why = error if isinstance(error, (LaneFailed, TransformFailed)) else type(error).__name__
    return ScoringFailed(f"'{model.name}' {model.version} could not score: {why}.")
