"""``POST /v1/push/{source}``: fresh features from the services that own them, visible to the next read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from knownat.clock import Clock
from knownat.contract.push_plan import PushSource
from knownat.errors import BadKey, OnlineStoreError, SchemaMismatch, StoreFull
from serving.access import Access
from serving.bodies import Bodies, parse_json
from serving.errors import BadRequest, StoreUnavailable
from serving.keys import Scope
from serving.lanes import Lane, LaneFailed
from serving.metrics import Metrics
from serving.pressure import Pressure
from serving.pushed_rows import MAX_ROWS, EarlyPush, PushedColumns, read_pushed
from serving.pushes import Kept, Pushes
from serving.responses import JSON

ROUTE = "push"


class KeptRows(BaseModel):
    """What became of the rows in one view: stored, or met by one as new or newer."""

    stored: int
    not_newer: int


class PushAnswer(BaseModel):
    """How many rows were taken, and what became of them in each view that the source feeds."""

    source: str
    rows: int
    views: dict[str, KeptRows]


class PushedRows(Collector):
    """What became of pushed rows, for Prometheus."""

    def __init__(self, counts: Counter[tuple[str, str]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Give the counts of now."""
        rows = CounterMetricFamily(
            "knownat_push_rows",
            "Rows pushed to a source, by what became of them in its views, or why they were refused.",
            labels=["source", "became"],
        )
        for (source, became), number in sorted(self._counts.items()):
            rows.add_metric([source, became], number)
        yield rows


@dataclass(frozen=True)
class PushRoute:
    """Takes rows of one source: all of them, or none."""

    pushes: Pushes
    access: Access
    clock: Clock
    bodies: Bodies
    metrics: Metrics
    pressure: Pressure
    writing: Lane

    async def push(self, request: Request) -> Response:
        """Write fresh rows, the newest of each key stays; sending a row twice is harmless."""
        self.pressure.relieve(request.scope)
        self.access.admit(request.headers.raw, Scope.PUSH)
        name = str(request.path_params["source"])
        source = self.pushes.source(name)
        document = parse_json(await self.bodies.receive(request.headers.raw, request.receive))
        now_us = self.clock.now_us()
        try:
            # Beside the loop: ten thousand rows are checked in tens of milliseconds.
            pushed, kept = await self.writing.run(lambda: self._write(document, source, now_us))
        except EarlyPush as error:
            self.pushes.count(name, "early", error.rows)
            raise
        except BadRequest:
            rows = document.get("rows")
            self.pushes.count(name, "refused", len(rows) if isinstance(rows, list) else 0)
            raise
        except (BadKey, SchemaMismatch) as error:
            raise BadRequest(f"The rows do not fit: {type(error).__name__}.") from error
        except (OnlineStoreError, LaneFailed) as error:
            why = "it has no room" if isinstance(error, StoreFull) else "it did not answer in time"
            raise StoreUnavailable(
                f"The online store could not take the rows: {why}. Send them again; twice is harmless."
            ) from error
        return self._answer(name, pushed, kept)

    def _write(
        self, document: dict[str, object], source: PushSource, now_us: int
    ) -> tuple[list[PushedColumns], dict[str, Kept]]:
        pushed = read_pushed(document, source, now_us)
        return pushed, self.pushes.write(pushed, now_us)

    def _answer(self, name: str, pushed: list[PushedColumns], kept: dict[str, Kept]) -> Response:
        for one in kept.values():
            self.pushes.count(name, "stored", one.stored)
            self.pushes.count(name, "not_newer", one.not_newer)
        self.metrics.observe_request(ROUTE, "", 200)
        views = {view: {"stored": one.stored, "not_newer": one.not_newer} for view, one in kept.items()}
        rows = pushed[0].rows
        return Response(msgspec.json.encode({"source": name, "rows": rows, "views": views}), media_type=JSON)


SOURCE: dict[str, Any] = {
    "name": "source",
    "in": "path",
    "required": True,
    "description": "The name of a push source, as the repo declares it.",
    "schema": {"type": "string"},
}
PUSH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "rows": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MAX_ROWS,
                            "items": {
                                "type": "object",
                                "description": "Every key, feature and time of the views that the source "
                                "feeds, by name: text, numbers, truths, lists; bytes as base64, times as "
                                "RFC 3339 with their zone; null where a feature is not known.",
                                "additionalProperties": True,
                            },
                        }
                    },
                    "required": ["rows"],
                    "additionalProperties": False,
                }
            }
        },
    }
}
