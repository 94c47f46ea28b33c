"""What a client is told when there is no answer: a status, a code to switch on, and what to do next.

* ApiError
  - Unauthenticated    401  no key, or none that is good
  - Forbidden          403  the key has another scope
  - TooManyRequests    429  the key has asked enough for now
  - BadRequest         422  the body is not what this route takes; lists problems, never values
  - UnknownPath        404  nothing is there
  - UnknownModel       404  no such model is served; lists those that are
  - UnknownPrediction  404  no prediction of that id was made here, or its row is not in the log
  - Gone               410  it served once; says what serves now
  - BodyTooLarge       413  the body is over the limit
  - ClientTooSlow      408  the body did not arrive in time
  - Overloaded         503  more requests wait than can be answered in time
  - ExplainOverloaded  503  more explanations wait than can be made in time
  - DeadlineExceeded   503  the request's time is over
  - StoreUnavailable   503  the features could not be read
  - ScoringFailed      500  the release could not score rows that passed every check
  - ExplainFailed      500  the release could not explain a row that it can score
  - LogUnavailable     503  a label or a comment could not be kept
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

_SOON: Mapping[str, str] = MappingProxyType({"retry-after": "1"})


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
    headers = _SOON


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


class UnknownPrediction(ApiError):
    """No prediction of that id was made here, or its row is not in the log."""

    status = 404
    code = "unknown_prediction"


class Gone(ApiError):
    """It served once, and does no more."""

    status = 410
    code = "gone"


class ClientTooSlow(ApiError):
    """The body did not arrive in time."""

    status = 408
    code = "too_slow"
    headers = MappingProxyType({"connection": "close"})


class BodyTooLarge(ApiError):
    """The body is over the limit."""

    status = 413
    code = "body_too_large"


class Overloaded(ApiError):
    """More requests wait than can be answered in time."""

    status = 503
    code = "overloaded"
    headers = _SOON


class ExplainOverloaded(ApiError):
    """More explanations wait than can be made in time; predictions go on."""

    status = 503
    code = "explain_overloaded"
    headers = _SOON


class DeadlineExceeded(ApiError):
    """The request's time is over; nothing of it was logged as answered."""

    status = 503
    code = "deadline_exceeded"
    headers = _SOON


class StoreUnavailable(ApiError):
    """The features could not be read."""

    status = 503
    code = "store_unavailable"
    headers = _SOON


class ScoringFailed(ApiError):
    """The release could not score rows that passed every check."""

    status = 500
    code = "scoring_failed"


class ExplainFailed(ApiError):
    """The release could not explain a row that it can score."""

    status = 500
    code = "explain_failed"


class LogUnavailable(ApiError):
    """A label or a comment could not be kept."""

    status = 503
    code = "log_unavailable"
