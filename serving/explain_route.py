"""``POST .../predict?explain=true``: the same answer, and what each feature added to it.

It never runs on the hot route: whoever asks without the parameter is not seen here, and who asks with
it waits on another thread.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from knownat.contract.prediction_log import Role
from knownat.errors import KnownatError, TransformFailed
from knownat.scoring.contributions import Explained
from serving.access import Access
from serving.bodies import Bodies, ClientGone
from serving.decoding import OneQuestion
from serving.errors import ApiError, BadRequest, DeadlineExceeded, UnknownPath
from serving.explaining import MAX_EXPLAINED_ROWS, Explaining
from serving.keys import Scope
from serving.lanes import Claim, LaneFailed, LaneLate
from serving.metrics import Metrics
from serving.models import ServedModels
from serving.predict_route import PATH, not_transformed, refuse_after_sunset, scoring_failed
from serving.predictions import Answering, ManyAnswered, Moment, count, encode
from serving.pressure import Pressure
from serving.questions import Question
from serving.responses import JSON_HEADER, send_error
from serving.served import ServedModel

ROUTE = "explain"
_FLAG = re.compile(r"true|false")


@dataclass(frozen=True)
class ExplainRoute:
    """An ASGI app: explains where it is asked to, else hands the request on unread."""

    predict: ASGIApp
    models: ServedModels
    access: Access
    answering: Answering
    explaining: Explaining
    metrics: Metrics
    pressure: Pressure
    bodies: Bodies

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one row or a few; each answered row is in the prediction log, or counted as dropped."""
        started_ns = time.perf_counter_ns()
        name = ""
        try:
            if not _wanted(scope["query_string"]):
                await self.predict(scope, receive, send)
                return
            if (path := PATH.fullmatch(scope["path"])) is None:
                raise UnknownPath("There is no such path.")
            self.pressure.relieve(scope)
            self.access.admit(scope["headers"], Scope.EXPLAIN)
            name, version = path.groups()
            lineup = self.models.get(name)
            body = await self.bodies.receive(scope["headers"], receive)
            model = lineup.champion if version is None else lineup.version(version)
            asked = model.decoder.decode(body)
            question = asked.together(model.plan) if isinstance(asked, OneQuestion) else asked
            _refuse_many(question)
            model, role = lineup.choose(question) if version is None else (model, Role.PINNED)
            now_us = self.answering.clock.now_us()
            refuse_after_sunset(model, lineup, now_us)
            deadline_ns = time.perf_counter_ns() + int(self.explaining.seconds * 1e9)
            content = await self._answer(
                model, role, question, Moment(now_us, started_ns, deadline_ns, Claim())
            )
        except ApiError as error:
            self.metrics.observe_request(ROUTE, name, error.status)
            await send_error(send, error)
            return
        except ClientGone:
            self.metrics.observe_request(ROUTE, name, 499)
            return
        self.metrics.observe_request(ROUTE, name, 200)
        headers = [JSON_HEADER, (b"content-length", b"%d" % len(content)), *model.sunset_headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, model: ServedModel, role: Role, question: Question, moment: Moment) -> bytes:
        try:
            answer, content = await self.explaining.run(
                lambda: self._explain(model, role, question, moment), claim=moment.claim
            )
        except LaneLate as error:
            raise DeadlineExceeded(f"'{model.name}' could not be explained in time. Ask again.") from error
        except TransformFailed as error:
            raise not_transformed(model, error) from error
        except (KnownatError, LaneFailed) as error:
            raise scoring_failed(model, error) from error
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
            prediction["explanation"] = _explanation(explained, row, columns)
        return answer, encode(document)


def _explanation(explained: Explained, row: int, columns: dict[str, Sequence[object]]) -> dict[str, object]:
    added = explained.contributions[row].tolist()
    largest_first = sorted(range(len(added)), key=lambda place: -abs(added[place]))
    return {
        "scale": explained.scale,
        "base": float(explained.base[row]),
        "raw_score": float(explained.raw[row]),
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
