"""The way in for every question: path, crowd, key, model, body, version, and its time; and the way out.

Predictions and explanations take it alike; they differ in the scope of the key, in how long they may
take and in what they answer.
"""

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from knownat.clock import Clock
from knownat.contract.prediction_log import Role
from serving.access import Access
from serving.bodies import Bodies, ClientGone
from serving.decoding import OneQuestion
from serving.errors import ApiError, UnknownPath
from serving.keys import Scope
from serving.lineup import Lineup, gone
from serving.metrics import Metrics
from serving.models import ServedModels
from serving.predictions import Moment
from serving.pressure import Pressure
from serving.questions import Question
from serving.responses import JSON_HEADER, send_error
from serving.served import ServedModel
from serving.wire import Headers, send_whole

PATH = re.compile(r"/v1/models/([^/]+)(?:/versions/([^/]+))?/predict")


class Asked(NamedTuple):
    """A question that was let in, who answers it, and until when."""

    lineup: Lineup
    model: ServedModel
    role: Role
    question: OneQuestion | Question
    moment: Moment


Answer = Callable[[Asked], Awaitable[bytes]]
Seconds = Callable[[ServedModel, OneQuestion | Question], float]


@dataclass(frozen=True)
class Door:
    """Lets the questions of one route in, and counts how each went out again."""

    route: str
    scope: Scope
    seconds: Seconds
    """How long an answer may take."""
    models: ServedModels
    access: Access
    clock: Clock
    metrics: Metrics
    pressure: Pressure
    bodies: Bodies

    async def serve(self, scope: Connection, receive: Receive, send: Send, answer: Answer) -> Asked | None:
        """Let a question in and send its answer, or why there is none; return what was answered."""
        started_ns = time.perf_counter_ns()
        name = ""
        try:
            name, version = self.admit(scope)
            lineup = self.models.get(name)
            asked = self.understand(
                lineup, version, await self.bodies.receive(scope["headers"], receive), started_ns
            )
            content = await answer(asked)
        except ApiError as error:
            await self.refuse(send, name, error)
            return None
        except ClientGone:
            self.metrics.observe_request(self.route, name, 499)
            return None
        await send_whole(scope, send, self.answered(asked), content)
        return asked

    def admit(self, scope: Connection) -> tuple[str, str | None]:
        """Let a request come in, before anything of it is read; return the model and version of its path.

        Raises
        ------
        ApiError
            If there is no such path, too many are here, or the key does not open this door.
        """
        if (path := PATH.fullmatch(scope["path"])) is None:
            raise UnknownPath("There is no such path.")
        self.pressure.relieve(scope)
        self.access.admit(scope["headers"], self.scope)
        name, version = path.groups()
        return name, version

    def understand(self, lineup: Lineup, version: str | None, body: bytes, started_ns: int) -> Asked:
        """Read a body, and choose who answers it.

        Raises
        ------
        ApiError
            If it is no question of this model, the version is not there, or its sunset has come.
        """
        model = lineup.champion if version is None else lineup.version(version)
        question = model.decoder.decode(body)
        role = Role.PINNED
        if version is None:
            model, role = lineup.choose(question)
        # The question's time is fixed before the read, so ttl and request-time features see one instant.
        now_us = self.clock.now_us()
        deadline_ns = time.perf_counter_ns() + int(self.seconds(model, question) * 1e9)
        refuse_after_sunset(model, lineup, now_us)
        return Asked(lineup, model, role, question, Moment(now_us, started_ns, deadline_ns))

    def answered(self, asked: Asked) -> Headers:
        """Count an answer; return the headers it goes out with."""
        self.metrics.observe_request(self.route, asked.lineup.name, 200)
        return (JSON_HEADER, *asked.model.sunset_headers)

    async def refuse(self, send: Send, name: str, error: ApiError) -> None:
        """Count a refusal and send it."""
        self.count(name, error)
        await send_error(send, error)

    def count(self, name: str, error: ApiError) -> None:
        """Count a refusal that is sent elsewhere."""
        self.metrics.observe_request(self.route, name, error.status)


def is_question(scope: Connection) -> bool:
    """Tell by the head of an HTTP request whether it goes through a door, right or wrong."""
    return bool(scope["method"] == "POST" and scope["path"].endswith("/predict"))


def refuse_after_sunset(model: ServedModel, lineup: Lineup, now_us: int) -> None:
    """Refuse a version whose sunset has come, and point to what serves.

    Raises
    ------
    Gone
        From the sunset on.
    """
    if model.sunset_us is None or now_us < model.sunset_us:
        return
    champion = lineup.champion
    over = champion.sunset_us is not None and now_us >= champion.sunset_us
    raise gone(
        f"Version {model.version} of '{model.name}' was to be used until its sunset.",
        model.name,
        None if over else champion.version,
    )
