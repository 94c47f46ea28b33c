"""Work that must be done by a time: it is told to stop, and its caller is not kept waiting.

Python cannot stop a thread, and a join in the engine does not look up from its work. So work under
a deadline runs in a thread of its own and asks between its steps whether to go on. Whoever waits
is answered when the time is up; the step that was running may use the processor until it ends,
and nothing that the work had not finished is ever seen.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from knownat.errors import RepoError, RetrievalTimeout

T = TypeVar("T")


class Stop:
    """Tells work under a deadline whether its time is up."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._asked = False
        self._finished = False
        self._interrupts: list[Callable[[], None]] = []

    def check(self) -> None:
        """Go on, or not: called between two steps.

        Raises
        ------
        RetrievalTimeout
            If the time is up.
        """
        if self._asked:
            raise RetrievalTimeout("The time is up; this work was told to stop.")

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Call ``interrupt`` if the time runs out inside this block."""
        with self._lock:
            self.check()
            self._interrupts.append(interrupt)
        try:
            yield
        finally:
            with self._lock:
                self._interrupts.remove(interrupt)
        self.check()

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Hold off the deadline for the last step, which makes the result seen by others."""
        with self._lock:
            self.check()
            self._finished = True
            yield

    def ask(self) -> bool:
        """Tell the work to stop; False if it was too late for that."""
        with self._lock:
            if self._finished:
                return False
            self._asked = True
            for interrupt in self._interrupts:
                interrupt()
            return True


def within(seconds: float | None, work: Callable[[Stop], T], *, what: str) -> T:
    """Return what ``work`` returns, if it is done in time; without a limit it runs right here.

    Raises
    ------
    RetrievalTimeout
        If it is not.
    RepoError
        If the limit is no positive number.
    """
    stop = Stop()
    if seconds is None:
        return work(stop)
    if not seconds > 0:
        raise RepoError(f"A timeout of {seconds} s lets nothing be done. Give a positive one, or none.")
    # Its thread is no daemon: an interpreter that ends while the engine works in one would crash.
    runner = ThreadPoolExecutor(1, thread_name_prefix=f"knownat: {what}")
    try:
        done = runner.submit(work, stop)
        wait([done], timeout=seconds)
        if not done.done() and stop.ask():
            raise RetrievalTimeout(
                f"{what} was not done within {seconds} s and was told to stop; its result is thrown "
                "away. Ask for fewer rows or features, or give it longer."
            )
        return done.result()
    finally:
        runner.shutdown(wait=False)
