"""What each public route does but predict's, over the collaborators it was given."""

import asyncio
import logging
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from knownat.clock import Clock
from serving.access import Access
from serving.bodies import Bodies, parse_json
from serving.errors import ApiError
from serving.health import Readiness
from serving.keys import Scope
from serving.labels import keep_labels, read_labels
from serving.metrics import Metrics
from serving.models import ServedModels
from serving.prediction_ids import PredictionIds
from serving.prediction_log import LogBook
from serving.responses import JSON, error_response

_logger = logging.getLogger(__name__)

_WARM_UP_READS = 3
_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class HealthRoutes:
    """What a balancer asks, of anyone."""

    clock: Clock
    readiness: Readiness

    async def live(self, _: Request) -> Response:
        """Say that the process answers at all."""
        return Response(b'{"live":true}', media_type=JSON)

    async def ready(self, _: Request) -> Response:
        """Say whether to send traffic here: models loaded, store readable, not draining."""
        ready, told = await self.readiness.look(self.clock.now_us())
        return Response(msgspec.json.encode(told), status_code=200 if ready else 503, media_type=JSON)


@dataclass(frozen=True)
class Routes:
    """The handlers of the public port."""

    access: Access
    book: LogBook
    ids: PredictionIds
    clock: Clock
    metrics: Metrics
    bodies: Bodies

    async def labels(self, request: Request) -> Response:
        """Keep labels by prediction id; unknown ids are told, and sending a label twice is harmless."""
        self.access.admit(request.headers.raw, Scope.LABEL)
        body = await self.bodies.receive(request.headers.raw, request.receive)
        now_us = self.clock.now_us()
        labels = read_labels(parse_json(body), now_us)
        unknown = keep_labels(labels, ids=self.ids, log=self.book.labels, now_us=now_us)
        self.metrics.observe_request("labels", "", 200)
        answer = {"accepted": len(labels) - len(unknown), "unknown": unknown}
        return Response(msgspec.json.encode(answer), media_type=JSON)

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer an error by its status and code; never with what the client sent."""
        known = error if isinstance(error, ApiError) else ApiError("The scorer failed; its log says why.")
        self.metrics.observe_request(
            _name_of(request.scope.get("route")), str(request.path_params.get("model", "")), known.status
        )
        return error_response(known)


def _name_of(route: object) -> str:
    """Name a route by the last fixed part of its path, never by what a client wrote there."""
    # Predictions do not pass through the router.
    fixed = [part for part in getattr(route, "path", "predict").split("/") if part and part[0] != "{"]
    return str(fixed[-1])


@dataclass(frozen=True)
class Upkeep:
    """What is looked after while requests are answered."""

    models: ServedModels
    access: Access
    bodies: Bodies
    book: LogBook

    async def warm_up(self, now_us: int) -> None:
        """Read once from every store before the first request does: connecting takes as long as a deadline.

        A store that does not answer is no reason not to start; each answer will say so.
        """
        for model in self.models.served():
            for _ in range(_WARM_UP_READS):
                if await model.features.problem(now_us, _WARM_UP_SECONDS) is None:
                    break

    async def keep(self, *, seconds: float) -> None:
        """Take up what is deployed and the keys, about once in ``seconds``, loading beside the loop."""
        while True:
            await asyncio.sleep(seconds)
            self.bodies.sweep()
            self.access.refresh()
            # Whatever a release does when it is loaded, the next one is looked at all the same.
            (error,) = await asyncio.gather(asyncio.to_thread(self.models.refresh), return_exceptions=True)
            if isinstance(error, Exception):
                self.models.problems = {**self.models.problems, "deployment": type(error).__name__}
                _logger.error("What is deployed cannot be taken up.", exc_info=error)
            self.book.rest({(model.name, model.version) for model in self.models.served()})
