"""Threads beside the event loop, so that one slow read never blocks the answer to a health check."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class LaneFailed(Exception):
    """The call raised; the cause is its error."""


class LaneLate(LaneFailed):
    """The call had not come back by its deadline; nobody waits for it any more."""


class Lane:
    """One thread that takes calls in turn: what it calls need not be safe to share."""

    def __init__(self, name: str, *, deadline: float) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._deadline = deadline

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call on the thread and wait for it, at most until the deadline.

        Raises
        ------
        LaneLate
            At the deadline. A call that has not begun is dropped, so a stuck one gathers no queue.
        LaneFailed
            If the call raised anything at all.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        done, _ = await asyncio.wait({future}, timeout=self._deadline)
        if not done:
            future.cancel()
            raise LaneLate(f"no answer within {self._deadline:g} s")
        # Looked at, not caught: whatever a store's client raises, the request gets a named answer.
        if (error := future.exception()) is not None:
            raise LaneFailed(type(error).__name__) from error
        return future.result()

    def close(self) -> None:
        """Let the thread go; a call that hangs is left behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)
