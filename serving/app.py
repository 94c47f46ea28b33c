"""The HTTP face of the scorer: a factory that takes its collaborators and opens nothing itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from knownat.clock import Clock
from serving.bodies import MAX_BODY_BYTES
from serving.errors import ApiError
from serving.health import Drain, Readiness
from serving.lanes import Lane
from serving.metrics import Metrics
from serving.openapi import LABELS_BODY, PREDICT_BODY, LabelsAnswer, PredictAnswer, refusals
from serving.prediction_ids import PredictionIds
from serving.prediction_log import LogBook
from serving.routes import Routes, error_response, watch_deployment
from serving.served import ServedModels


@dataclass(frozen=True)
class Limits:
    """How much a request may be and take."""

    max_body_bytes: int = MAX_BODY_BYTES
    read_seconds: float = 10.0
    score_seconds: float = 30.0
    watch_seconds: float = 1.0


def create_app(
    *,
    models: ServedModels,
    book: LogBook,
    ids: PredictionIds,
    clock: Clock,
    drain: Drain | None = None,
    limits: Limits | None = None,
) -> FastAPI:
    """Build the app over what serves, its log and its clock.

    The caller opens and closes the log; the app watches the deployment while it runs.
    """
    limits = limits or Limits()
    reading = Lane("read", deadline=limits.read_seconds)
    scoring = Lane("score", deadline=limits.score_seconds)
    routes = Routes(
        models=models,
        book=book,
        ids=ids,
        clock=clock,
        reading=reading,
        scoring=scoring,
        metrics=Metrics(models, book),
        readiness=Readiness(models, book, reading, drain or Drain()),
        max_body_bytes=limits.max_body_bytes,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(watch_deployment(models, seconds=limits.watch_seconds))
        try:
            yield
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
            reading.close()
            scoring.close()

    # The pages of /docs load scripts from elsewhere; /openapi.json needs nothing.
    app = FastAPI(title="knownat scorer", version=version("knownat"), lifespan=lifespan,
                  docs_url=None, redoc_url=None)  # fmt: skip
    _add_routes(app, routes)
    _add_refusals(app, routes)
    return app


def _add_routes(app: FastAPI, routes: Routes) -> None:
    app.post(
        "/v1/models/{model}/predict",
        summary="Predict one row or many",
        response_model=None,
        responses={200: {"model": PredictAnswer}, **refusals(404, 413, 422, 500, 503)},
        openapi_extra=PREDICT_BODY,
    )(routes.predict)
    app.post(
        "/v1/labels",
        summary="Report what became true, by prediction id",
        response_model=None,
        responses={200: {"model": LabelsAnswer}, **refusals(413, 422, 503)},
        openapi_extra=LABELS_BODY,
    )(routes.labels)
    app.get("/health/live", summary="Whether the process answers", response_model=None)(routes.live)
    app.get("/health/ready", summary="Whether to send traffic here", response_model=None)(routes.ready)
    app.get("/metrics", summary="Metrics for Prometheus", response_model=None)(routes.exposition)


def _add_refusals(app: FastAPI, routes: Routes) -> None:
    async def refuse_route(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 422
        phrase = HTTPStatus(status).phrase
        return error_response(status, phrase.lower().replace(" ", "_"), f"{phrase}.", [])

    app.exception_handler(ApiError)(routes.refuse)
    app.exception_handler(Exception)(routes.refuse)
    app.exception_handler(HTTPException)(refuse_route)
    app.exception_handler(RequestValidationError)(refuse_route)
