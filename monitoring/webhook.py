"""One message to one address: with a deadline over all attempts, and a reason where it did not arrive."""

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import JsonValue

from knownat.contract.rules import Webhook

_FIRST_PAUSE_S = 0.25
_ENV = "env:"
_WORTH_ANOTHER_TRY = {408, 425, 429}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Take a redirect for the refusal that it is: followed, it would become a GET without the message."""

    def redirect_request(self, *_args: object, **_named: object) -> None:
        """Follow nothing."""


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True)
class Delivery:
    """Whether a message arrived; if not, why not."""

    arrived: bool
    attempts: int
    problem: str = ""


@dataclass
class _Attempt:
    """One request, on a thread of its own: a server that trickles its answer outlives any socket timeout."""

    status: int | None = None
    problem: str = ""
    retry_after_s: float = 0.0

    def make(self, request: urllib.request.Request, seconds: float) -> None:
        try:
            with _OPENER.open(request, timeout=seconds) as response:
                self.status = response.status
        except urllib.error.HTTPError as error:
            with error:
                self.status = error.code
                self.retry_after_s = _seconds(error.headers.get("Retry-After"))
        except (OSError, ValueError, http.client.HTTPException) as error:
            # The message of such an error may hold the address, which may be a secret.
            reason = getattr(error, "reason", error)
            self.problem = type(reason).__name__ if not isinstance(reason, str) else "no connection"


def deliver(
    message: JsonValue,
    webhook: Webhook,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Delivery:
    """POST a message as JSON; try again where that may help, within the deadline. Never raises.

    A refusal that another attempt would meet again, such as 400 or 404, ends it at once. ``now`` and
    ``sleep`` count seconds.
    """
    url = _address(webhook.url)
    if url is None:
        return Delivery(False, 0, f"the variable {webhook.url.removeprefix(_ENV)} holds no http address")
    body = json.dumps(message).encode()
    deadline, pause, problem, attempts = now() + webhook.deadline_s, _FIRST_PAUSE_S, "", 0
    while attempts < webhook.attempts and (left := deadline - now()) > 0:
        attempts += 1
        attempt = _attempt(url, body, left)
        if attempt.status is not None and 200 <= attempt.status < 300:
            return Delivery(True, attempts)
        problem = attempt.problem or f"it answered {attempt.status}"
        if attempt.status is not None and not _may_pass_later(attempt.status):
            break
        wait = max(pause, attempt.retry_after_s)
        if attempts == webhook.attempts or now() + wait >= deadline:
            break
        sleep(wait)
        pause *= 2
    return Delivery(False, attempts, f"{urlsplit(url).hostname}: {problem} ({attempts} attempts)")


def _attempt(url: str, body: bytes, seconds: float) -> _Attempt:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    attempt = _Attempt()
    thread = threading.Thread(target=attempt.make, args=(request, seconds), daemon=True)
    thread.start()
    thread.join(seconds)
    return _Attempt(problem="no answer within the deadline") if thread.is_alive() else attempt


def _may_pass_later(status: int) -> bool:
    return status >= 500 or status in _WORTH_ANOTHER_TRY


def _address(url: str) -> str | None:
    found = os.environ.get(url.removeprefix(_ENV), "") if url.startswith(_ENV) else url
    return found if found.startswith(("http://", "https://")) else None


def _seconds(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        # A date is allowed too; our own pauses do as well.
        return 0.0
