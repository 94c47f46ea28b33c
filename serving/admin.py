"""What an operator and Prometheus ask of one scorer process, on a loopback port of its own."""

import asyncio
from dataclasses import dataclass

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.access import Access
from serving.errors import ApiError
from serving.keys import Scope
from serving.metrics import Metrics
from serving.models import ServedModels
from serving.responses import JSON, error_response
from serving.routes import HealthRoutes

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class AdminRoutes:
    """The handlers of the admin port."""

    models: ServedModels
    access: Access
    metrics: Metrics

    async def exposition(self, _: Request) -> Response:
        """Render the metrics for Prometheus."""
        return Response(self.metrics.exposition(), headers={"content-type": METRICS_TYPE})

    async def refresh(self, request: Request) -> Response:
        """Take up what is deployed, and the keys, now; say what serves and what was refused."""
        self.access.admit(request.headers.raw, Scope.ADMIN)
        await asyncio.to_thread(self.models.refresh)
        self.access.refresh()
        served = {name: lineup.champion.version for name, lineup in self.models.current.items()}
        told = {
            "models": served,
            "refused": dict(self.models.problems),
            "keys": self.access.problem or "taken",
        }
        return Response(msgspec.json.encode(told), media_type=JSON)


def create_admin_app(routes: AdminRoutes, health: HealthRoutes) -> Starlette:
    """Build the admin port's app over the same collaborators as the public one."""

    async def refuse(_: Request, error: Exception) -> Response:
        known = error if isinstance(error, ApiError) else ApiError("The scorer failed; its log says why.")
        return error_response(known)

    return Starlette(
        routes=[
            Route("/metrics", routes.exposition),
            Route("/v1/refresh", routes.refresh, methods=["POST"]),
            Route("/health/live", health.live),
            Route("/health/ready", health.ready),
        ],
        exception_handlers={ApiError: refuse, Exception: refuse},
    )
