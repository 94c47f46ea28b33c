"""Threads beside the event loop, so that one slow call never blocks the answer to a health check."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import TypeVar

from knownat.errors import KnownatError
from serving.errors import ApiError

T = TypeVar("T")

_LATE = "no answer in time"


class LaneFailed(Exception):
    """The call raised something that has no name here; the cause is its error."""


class LaneLate(LaneFailed):
    """The call had not come back by its deadline; nobody waits for it any more."""


class Claim:
    """Who ends a call: the thread that is about to log its answer, or the loop that waits no longer.

    Whichever asks first has it. Two looks at a clock cannot decide this: a thread that saw time left
    may be held up before it logs, and then a row would stand in the log as answered that nobody got.
    """

    def __init__(self) -> None:
        self._taken = threading.Lock()

    def take(self) -> bool:
        """Say whether the caller is the first to ask."""
        return self._taken.acquire(blocking=False)


class Lane:
    """One thread that takes calls in turn: what it calls need not be safe to share."""

    def __init__(self, name: str, *, deadline: float) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._deadline = deadline

    async def run(
        self, call: Callable[[], T], *, deadline: float | None = None, claim: Claim | None = None
    ) -> T:
        """Run a call on the thread and wait for it without blocking the loop, at most until the deadline.

        A call that has taken its claim by then is about to come back, and is waited for.

        Raises
        ------
        ApiError, KnownatError
            If the call raised one.
        LaneLate
            At the deadline. A call that has not begun is dropped, so a stuck one gathers no queue.
        LaneFailed
            If the call raised anything else.
        """
        seconds = self._deadline if deadline is None else min(deadline, self._deadline)
        submitted = self._pool.submit(call)
        future = asyncio.wrap_future(submitted)
        done, _ = await asyncio.wait({future}, timeout=seconds)
        if not done and (claim is None or claim.take()):
            # Itself, and not by the loop, which would tell it a round later: it could begin meanwhile.
            submitted.cancel()
            future.cancel()
            raise LaneLate(_LATE)
        await asyncio.wait({future})
        return _result(future.exception(), future.result)

    def wait(self, call: Callable[[], T]) -> T:
        """Do as :meth:`run` does, from another thread than the loop's."""
        future: Future[T] = self._pool.submit(call)
        done, _ = wait_for({future}, timeout=self._deadline)
        if not done:
            future.cancel()
            raise LaneLate(_LATE)
        return _result(future.exception(), future.result)

    def close(self) -> None:
        """Let the thread go; a call that hangs is left behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _result(error: BaseException | None, result: Callable[[], T]) -> T:
    # Looked at, not caught: whatever a store's client raises, the request gets a named answer.
    if error is None or isinstance(error, (ApiError, KnownatError)):
        return result()
    raise LaneFailed(type(error).__name__) from error
