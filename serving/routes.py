"""What each route does, over the collaborators it was given."""

import asyncio
import logging
import time
from dataclasses import dataclass

import msgspec
from fastapi import Request, Response

from knownat.clock import Clock
from knownat.contract.read_plan import ReadResult
from serving.bodies import parse_json, read_body
from serving.errors import ApiError, ScoringFailed, StoreUnavailable
from serving.health import Readiness
from serving.labels import keep_labels, read_labels
from serving.lanes import Lane, LaneFailed
from serving.metrics import Metrics
from serving.prediction_ids import PredictionIds
from serving.prediction_log import LogBook
from serving.predictions import Answer, Moment, document, nothing_was_read, predict
from serving.questions import Question, read_question
from serving.served import ServedModel, ServedModels

_logger = logging.getLogger(__name__)

JSON = "application/json"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Routes:
    """The handlers of one app."""

    models: ServedModels
    book: LogBook
    ids: PredictionIds
    clock: Clock
    reading: Lane
    scoring: Lane
    metrics: Metrics
    readiness: Readiness
    max_body_bytes: int

    async def predict(self, model: str, request: Request) -> Response:
        """Answer one row or many; each answered row is in the prediction log, or counted as dropped."""
        started_ns = time.perf_counter_ns()
        served = self.models.get(model)
        body = await read_body(request.headers, request.stream(), self.max_body_bytes)
        question = read_question(parse_json(body), served.plan)
        # The question's time is fixed before the read, so ttl and request-time features see one instant.
        moment = Moment(self.clock.now_us(), started_ns)
        read = await self._read(served, question, moment)
        answer, content = await self._answer(served, question, read, moment)
        self.metrics.observe_answer(served, answer, now_us=moment.now_us, elapsed_us=moment.elapsed_us)
        self.metrics.observe_request("predict", model, 200)
        return Response(content, media_type=JSON)

    async def labels(self, request: Request) -> Response:
        """Keep labels by prediction id; unknown ids are told, and sending a label twice is harmless."""
        body = await read_body(request.headers, request.stream(), self.max_body_bytes)
        now_us = self.clock.now_us()
        labels = read_labels(parse_json(body), now_us)
        unknown = keep_labels(labels, ids=self.ids, log=self.book.labels, now_us=now_us)
        self.metrics.observe_request("labels", "", 200)
        answer = {"accepted": len(labels) - len(unknown), "unknown": unknown}
        return Response(msgspec.json.encode(answer), media_type=JSON)

    async def live(self) -> Response:
        """Say that the process answers at all."""
        return Response(b'{"live":true}', media_type=JSON)

    async def ready(self) -> Response:
        """Say whether to send traffic here: models loaded, store readable, not draining."""
        ready, told = await self.readiness.look(self.clock.now_us())
        return Response(msgspec.json.encode(told), status_code=200 if ready else 503, media_type=JSON)

    async def exposition(self) -> Response:
        """Render the metrics for Prometheus."""
        return Response(self.metrics.exposition(), headers={"content-type": METRICS_TYPE})

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer an error by its status and code; never with what the client sent."""
        known = error if isinstance(error, ApiError) else ApiError("The scorer failed; its log says why.")
        # Only paths of our own routes come here, so the last part names the route.
        route = request.url.path.rsplit("/", 1)[-1]
        self.metrics.observe_request(route, str(request.path_params.get("model", "")), known.status)
        return error_response(known.status, known.code, known.message, list(known.details))

    async def _read(self, served: ServedModel, question: Question, moment: Moment) -> ReadResult:
        try:
            read = await self.reading.run(lambda: served.reader.read(question.keys, moment.now_us))
        except LaneFailed as error:
            _logger.exception("%s: features could not be read", served.name)
            raise StoreUnavailable(f"The features of '{served.name}' could not be read: {error}.") from error
        # One view that cannot be read degrades an answer; none that can be read is no answer at all.
        if nothing_was_read(read):
            raise StoreUnavailable(f"No view of '{served.name}' could be read. Try again later.")
        return read

    async def _answer(
        self, served: ServedModel, question: Question, read: ReadResult, moment: Moment
    ) -> tuple[Answer, bytes]:
        def work() -> tuple[Answer, bytes]:
            answer = predict(served, question, read, moment=moment, ids=self.ids, clock=self.clock)
            return answer, msgspec.json.encode(document(served, question, answer, moment.now_us))

        try:
            return await self.scoring.run(work)
        except LaneFailed as error:
            _logger.exception("%s: could not score", served.name)
            raise ScoringFailed(f"'{served.name}' {served.version} could not score: {error}.") from error


def error_response(status: int, code: str, message: str, details: list[object]) -> Response:
    """Lay an error out as every route does."""
    content = {"error": {"code": code, "message": message, "details": details}}
    return Response(msgspec.json.encode(content), status_code=status, media_type=JSON)


async def watch_deployment(models: ServedModels, *, seconds: float) -> None:
    """Take up what is deployed, about once in ``seconds``, loading beside the event loop."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(models.refresh)
