"""``POST .../predict?explain=true``: the same answer, and what each feature added to it.

It never runs on the hot route: whoever asks without the parameter is not seen here, and who asks with
it waits on another thread.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from knownat.contract.prediction_log import Role
from knownat.errors import KnownatError
from knownat.scoring.contributions import Explained
from serving.decoding import OneQuestion
from serving.door import Asked, Door
from serving.errors import ApiError, BadRequest, DeadlineExceeded
from serving.explaining import MAX_EXPLAINED_ROWS, Explaining
from serving.lanes import Claim, LaneFailed, LaneLate
from serving.predict_route import unanswered
from serving.predictions import Answering, ManyAnswered, Moment, count, encode
from serving.questions import Question
from serving.served import ServedModel

ROUTE = "explain"
_FLAG = re.compile(r"true|false")


@dataclass(frozen=True)
class ExplainRoute:
    """An ASGI app: explains where it is asked to, else hands the request on unread."""

    predict: ASGIApp
    door: Door
    answering: Answering
    explaining: Explaining

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one row or a few; each answered row is in the prediction log, or counted as dropped."""
        try:
            wanted = _wanted(scope["query_string"])
        except ApiError as error:
            await self.door.refuse(send, "", error)
            return
        if wanted:
            await self.door.serve(scope, receive, send, self._answer)
        else:
            await self.predict(scope, receive, send)

    async def _answer(self, asked: Asked) -> bytes:
        _, model, role, question, moment = asked
        many = question.together(model.plan) if isinstance(question, OneQuestion) else question
        _refuse_many(many)
        try:
            claim = Claim()
            claimed = moment._replace(claim=claim)
            answer, content = await self.explaining.run(
                lambda: self._explain(model, role, many, claimed), claim=claim
            )
        except LaneLate as error:
            raise DeadlineExceeded(f"'{model.name}' could not be explained in time. Ask again.") from error
        except (KnownatError, LaneFailed) as error:
            raise unanswered(model, error) from error
        count(model, answer, moment.now_us)
        return content

    def _explain(
        self, model: ServedModel, role: Role, question: Question, moment: Moment
    ) -> tuple[ManyAnswered, bytes]:
        read = model.features.many(question.keys, moment.now_us)
        inputs = model.columns_at(question.inputs, question.rows, moment.now_us)
        columns = model.scorer.columns(read.values, inputs)
        # Explained first: what is logged as answered will be answered.
        explained = self.explaining.explain(model, columns)
        answer = self.answering.many(model, role, question, read, moment)
        document = msgspec.json.decode(answer.content)
        for row, prediction in enumerate(document["predictions"]):
            likeliest = prediction.get("class", 0)
            prediction["explanation"] = _explanation(explained, row, columns, likeliest)
        return answer, encode(document)


def _explanation(
    explained: Explained, row: int, columns: dict[str, Sequence[object]], likeliest: int
) -> dict[str, object]:
    """Lay out one row's explanation: of several classes that of the likeliest first, and all of them."""
    outputs = [_of_output(explained, row, output, columns) for output in range(explained.raw.shape[1])]
    told: dict[str, object] = {"scale": explained.scale, **outputs[likeliest]}
    if len(outputs) > 1:
        told |= {"class": likeliest, "classes": outputs}
    return told


def _of_output(
    explained: Explained, row: int, output: int, columns: dict[str, Sequence[object]]
) -> dict[str, object]:
    added = explained.contributions[row, output].tolist()
    largest_first = sorted(range(len(added)), key=lambda place: -abs(added[place]))
    return {
        "base": float(explained.base[row, output]),
        "raw_score": float(explained.raw[row, output]),
        "contributions": [
            {
                "feature": (name := explained.columns[place]),
                "value": _plain(columns[name][row]),
                "contribution": added[place],
            }
            for place in largest_first
        ],
    }


def _plain(value: Any) -> object:
    # On-demand bodies may give NumPy's scalars, which JSON does not have.
    return value.item() if hasattr(value, "item") else value


def _wanted(query: bytes) -> bool:
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("explain", ["false"])
    if len(given) != 1 or _FLAG.fullmatch(given[0]) is None:
        raise BadRequest("'explain' must be true or false, once.")
    return given == ["true"]


def _refuse_many(question: Question) -> None:
    if question.rows > MAX_EXPLAINED_ROWS:
        raise BadRequest(
            f"'rows' holds {question.rows} rows; at most {MAX_EXPLAINED_ROWS} are explained at a time."
        )
