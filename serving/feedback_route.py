"""``POST /v1/feedback``: somebody finds a prediction odd."""

from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from knownat.clock import Clock
from serving.access import Access
from serving.bodies import Bodies, parse_json
from serving.errors import BodyTooLarge, LogUnavailable
from serving.feedback import MAX_FEEDBACK_BYTES, Feedback, read_comment
from serving.keys import Scope
from serving.lanes import Lane, LaneFailed
from serving.metrics import Metrics
from serving.responses import JSON


@dataclass(frozen=True)
class FeedbackRoute:
    """Keeps comments; reading the log happens on a thread of its own."""

    access: Access
    feedback: Feedback
    clock: Clock
    metrics: Metrics
    bodies: Bodies
    lane: Lane

    async def __call__(self, request: Request) -> Response:
        """Make a bundle of a comment and its prediction."""
        self.access.admit(request.headers.raw, Scope.FEEDBACK)
        body = await self.bodies.receive(request.headers.raw, request.receive)
        if len(body) > MAX_FEEDBACK_BYTES:
            raise BodyTooLarge(f"The body is over {MAX_FEEDBACK_BYTES} bytes. Say less.")
        comment, now_us = read_comment(parse_json(body)), self.clock.now_us()
        try:
            kept = await self.lane.run(lambda: self.feedback.keep(comment, now_us))
        except LaneFailed as error:
            raise LogUnavailable("The comment could not be kept. Send it again later.") from error
        self.metrics.observe_request("feedback", kept.model, 200)
        answer = {"feedback_id": kept.feedback_id, "created": kept.created}
        return Response(msgspec.json.encode(answer), media_type=JSON)
