"""What a client is told when there is no answer: a status, a code to switch on, and what to do next.

* ApiError
  - Unauthenticated    401  no key, or none that is good
  - Forbidden          403  the key has another scope
  - TooManyRequests    429  the key has asked enough for now
  - BadRequest         422  the body is not what this route takes; lists problems, never values
  - UnknownPath        404  nothing is there
  - UnknownModel       404  no such model is served; lists those that are
  - BodyTooLarge       413  the body is over the limit
  - StoreUnavailable   503  the features could not be read
  - ScoringFailed      500  the release could not score rows that passed every check
  - LogUnavailable     503  a label could not be kept
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType


class ApiError(Exception):
    """Base of every refusal; ``details`` is plain JSON."""

    status = 500
    code = "internal"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, details: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)


class Unauthenticated(ApiError):
    """The request carries no key that is good now."""

    status = 401
    code = "unauthenticated"
    headers = MappingProxyType({"www-authenticate": "Bearer"})


class Forbidden(ApiError):
    """The key may not do this."""

    status = 403
    code = "forbidden"


class TooManyRequests(ApiError):
    """The key has asked enough for now."""

    status = 429
    code = "too_many_requests"
    headers = MappingProxyType({"retry-after": "1"})


class BadRequest(ApiError):
    """The body is not what this route takes."""

    status = 422
    code = "bad_request"


class UnknownPath(ApiError):
    """Nothing is there."""

    status = 404
    code = "not_found"


class UnknownModel(ApiError):
    """No such model is served."""

    status = 404
    code = "unknown_model"


class BodyTooLarge(ApiError):
    """The body is over the limit."""

    status = 413
    code = "body_too_large"


class StoreUnavailable(ApiError):
    """The features could not be read."""

    status = 503
    code = "store_unavailable"


class ScoringFailed(ApiError):
    """The release could not score rows that passed every check."""

    status = 500
    code = "scoring_failed"


class LogUnavailable(ApiError):
    """A label could not be kept."""

    status = 503
    code = "log_unavailable"
