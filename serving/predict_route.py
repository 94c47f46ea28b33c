"""``POST .../predict``, the route that services live on: one callable from a request to its answer.

It stands before the app's own stack, which costs a request as much as reading its features. What it
refuses is laid out as everywhere. Whole requests of one row do not even come here on a server that
gathers them (:mod:`serving.rounds`); the answers are the same.
"""

from dataclasses import dataclass

from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from knownat.contract.prediction_log import Role
from knownat.errors import KnownatError, TransformFailed
from serving.decoding import OneQuestion
from serving.door import Asked, Door
from serving.errors import ApiError, BadRequest, DeadlineExceeded, ScoringFailed
from serving.lanes import Claim, Lane, LaneFailed, LaneLate
from serving.predictions import Answering, ManyAnswered, Moment, count
from serving.questions import Question
from serving.served import ServedModel
from serving.shadows import Shadows

ROUTE = "predict"
# So few rows are answered in less time than another thread takes to wake up and give the loop back.
_FEW_ROWS = 16
# What each row after the first adds to the time that a request may take.
_SECONDS_A_ROW = 0.001


@dataclass(frozen=True)
class PredictRoute:
    """An ASGI app of one route."""

    door: Door
    answering: Answering
    scoring: Lane
    shadows: Shadows

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one row or many; each answered row is in the prediction log, or counted as dropped."""
        asked = await self.door.serve(scope, receive, send, self.answer)
        if asked is not None:
            self.let_shadows_see(asked)

    def let_shadows_see(self, asked: Asked) -> None:
        """Offer what was answered to those who score it for nobody to see."""
        if asked.lineup.shadows and asked.role is not Role.PINNED:
            self.shadows.offer(asked.lineup, asked.question, asked.moment)

    async def answer(self, asked: Asked) -> bytes:
        """Answer a question that was let in.

        Raises
        ------
        ApiError
            If it cannot be answered, or not in time.
        """
        _, model, role, question, moment = asked
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
        except (KnownatError, LaneFailed) as error:
            raise unanswered(model, error) from error
        count(model, answer, moment.now_us)
        return answer.content

    def _many(self, model: ServedModel, role: Role, question: Question, moment: Moment) -> ManyAnswered:
        read = model.features.many(question.keys, moment.now_us)
        return self.answering.many(model, role, question, read, moment)


def seconds_for(model: ServedModel, question: OneQuestion | Question) -> float:
    """How long a prediction may take: the model's own deadline, and a little for each further row."""
    rows = 1 if isinstance(question, OneQuestion) else question.rows
    return model.deadline_seconds + _SECONDS_A_ROW * (rows - 1)


def unanswered(model: ServedModel, error: Exception) -> ApiError:
    """Name what kept a release from answering; never the values it was given."""
    if isinstance(error, LaneLate):
        return DeadlineExceeded(f"'{model.name}' could not answer in time. Ask again, or fewer rows.")
    # A value that an on-demand view cannot take is told from a view that fails.
    if isinstance(error, TransformFailed) and error.from_request:
        return BadRequest(f"The request was refused: {error} Send values that it can take.")
    why = error if isinstance(error, (LaneFailed, TransformFailed)) else type(error).__name__
    return ScoringFailed(f"'{model.name}' {model.version} could not score: {why}.")
