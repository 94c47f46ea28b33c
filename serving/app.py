"""The HTTP face of the scorer: a factory that takes its collaborators and opens nothing itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from knownat.clock import Clock
from serving.access import Access
from serving.admin import AdminRoutes, create_admin_app
from serving.bodies import MAX_BODY_BYTES, Bodies
from serving.door import Door, is_question
from serving.errors import ApiError
from serving.health import Drain, Readiness
from serving.insight import Folders, Insight
from serving.keys import Scope
from serving.lanes import Lane
from serving.metrics import Metrics
from serving.models import ServedModels
from serving.openapi import (
    LABELS_BODY,
    LabelsAnswer,
    answers,
    describe,
)
from serving.predict_route import ROUTE, PredictRoute, seconds_for
from serving.prediction_ids import PredictionIds
from serving.prediction_log import LogBook
from serving.predictions import Answering
from serving.pressure import Pressure
from serving.push_route import PUSH_BODY, SOURCE, PushAnswer, PushedRows, PushRoute
from serving.pushes import Pushes, no_pushes
from serving.responses import error_response
from serving.rounds import Rounds
from serving.routes import HealthRoutes, Routes, Upkeep
from serving.shadows import Shadows


@dataclass(frozen=True)
class Limits:
    """How much a request may be and take."""

    max_body_bytes: int = MAX_BODY_BYTES
    body_seconds: float = 10.0
    score_seconds: float = 30.0
    push_seconds: float = 15.0
    watch_seconds: float = 1.0


@dataclass(frozen=True)
class Parts:
    """What the apps of one scorer process stand on; the caller opens and closes the log."""

    models: ServedModels
    book: LogBook
    ids: PredictionIds
    clock: Clock
    access: Access
    drain: Drain = field(default_factory=Drain)
    pressure: Pressure = field(default_factory=Pressure)
    shadows: Shadows | None = None
    pushes: Pushes = field(default_factory=no_pushes)
    limits: Limits = field(default_factory=Limits)
    folders: Folders | None = None
    """Beside the log by default."""


class ScorerApp(FastAPI):
    """A FastAPI app whose predictions do not pass through its stack, only through its description."""

    def __init__(
        self,
        predict: PredictRoute,
        explain: ASGIApp,
        *,
        guarded: Callable[[ASGIApp], ASGIApp],
        keyed: bool,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._predict, self._explain, self._keyed = guarded(predict), guarded(explain), keyed
        self.rounds = Rounds(predict, guarded)
        """What a server may gather predictions with that come together."""
        # Here for what the router says of it: another method is 405.
        for path in ("/v1/models/{model}/predict", "/v1/models/{model}/versions/{version}/predict"):
            self.router.routes.append(Route(path, self._predict, methods=["POST"]))

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and is_question(scope):
            # Only a parameter can ask for more than a prediction.
            await (self._explain if scope["query_string"] else self._predict)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Describe every route, the predictions' by hand."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(super().openapi(), keyed=self._keyed)
        return self.openapi_schema


def create_apps(parts: Parts) -> tuple[ScorerApp, Starlette]:
    """Build the public app and the admin port's; the public one watches the deployment while it runs."""
    limits = parts.limits
    scoring = Lane("score", deadline=limits.score_seconds)
    bodies = Bodies(most_bytes=limits.max_body_bytes, most_seconds=limits.body_seconds)
    parts.pressure.arriving = bodies.arriving
    answering = Answering(parts.ids, parts.clock)
    shadows = parts.shadows or Shadows(answering)
    metrics = Metrics(parts.models, parts.book, shadows=shadows, pressure=parts.pressure)
    metrics.also(PushedRows(parts.pushes.counts))
    pushing = Lane("push", deadline=limits.push_seconds)
    push = PushRoute(
        parts.pushes, parts.access, parts.clock, bodies, metrics, parts.pressure, writing=pushing
    )
    health = HealthRoutes(parts.clock, Readiness(parts.models, parts.book, parts.drain))
    door = Door(
        route=ROUTE,
        scope=Scope.PREDICT,
        seconds=seconds_for,
        models=parts.models,
        access=parts.access,
        clock=parts.clock,
        metrics=metrics,
        pressure=parts.pressure,
        bodies=bodies,
    )
    predict = PredictRoute(door, answering, scoring, shadows)
    insight = Insight.beside(predict, parts.book, parts.folders)
    routes = Routes(parts.access, parts.book, parts.ids, parts.clock, metrics, bodies)
    upkeep = Upkeep(parts.models, parts.access, bodies, parts.book)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await upkeep.warm_up(parts.clock.now_us())
        keeping = asyncio.create_task(upkeep.keep(seconds=limits.watch_seconds))
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            shadows.close()
            scoring.close()
            pushing.close()
            insight.close()

    # The pages of /docs load scripts from elsewhere; /openapi.json needs nothing.
    app = ScorerApp(
        predict,
        insight.explain,
        guarded=lambda route: ServerErrorMiddleware(route, handler=routes.refuse),
        keyed=parts.access.keyed,
        title="knownat scorer",
        version=version("knownat"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _add_routes(app, routes, health)
    _add_push(app, push)
    insight.add_to(app)
    _add_refusals(app, routes)
    return app, create_admin_app(AdminRoutes(parts.models, parts.access, metrics), health)


def _add_routes(app: FastAPI, routes: Routes, health: HealthRoutes) -> None:
    app.post(
        "/v1/labels",
        summary="Report what became true, by prediction id",
        response_model=None,
        responses=answers(LabelsAnswer, 401, 403, 413, 422, 429, 503),
        openapi_extra=LABELS_BODY,
    )(routes.labels)
    app.get("/health/live", summary="Whether the process answers", response_model=None)(health.live)
    app.get("/health/ready", summary="Whether to send traffic here", response_model=None)(health.ready)


def _add_push(app: FastAPI, push: PushRoute) -> None:
    app.post(
        "/v1/push/{source}",
        summary="Push fresh feature rows of one source",
        response_model=None,
        responses=answers(PushAnswer, 401, 403, 404, 408, 413, 422, 429, 503),
        openapi_extra={**PUSH_BODY, "parameters": [SOURCE]},
    )(push.push)


def _add_refusals(app: FastAPI, routes: Routes) -> None:
    async def refuse_route(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 422
        phrase = HTTPStatus(status).phrase
        refusal = ApiError(f"{phrase}.")
        refusal.status, refusal.code = status, phrase.lower().replace(" ", "_")
        return error_response(refusal)

    app.exception_handler(ApiError)(routes.refuse)
    app.exception_handler(Exception)(routes.refuse)
    app.exception_handler(HTTPException)(refuse_route)
    app.exception_handler(RequestValidationError)(refuse_route)
