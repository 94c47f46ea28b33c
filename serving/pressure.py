"""When there is more to answer than can be answered in time, the rest is told so at once."""

from collections.abc import Sized
from dataclasses import dataclass

from starlette.types import Scope

from serving.errors import Overloaded

AHEAD = "knownat.ahead"
"""Extension of a request's scope: how many of its process were waiting or being answered when it came."""


@dataclass
class Pressure:
    """How many requests of this process wait or are being answered, and how many may.

    Their number is how long the newest will wait: about a tenth of a millisecond each.
    """

    most: int = 100
    waiting: int = 0
    """Counted by the server from a request's head to the end of its answer."""
    arriving: Sized = ()
    """Those of them that wait for the rest of their own request, which costs nobody anything."""
    shed: int = 0

    def relieve(self, scope: Scope) -> None:
        """Let a request be answered.

        What counts is how many were before it when it came. To look when its turn has come would be to
        refuse all of a crowd that came at once: each would see the whole of it still there.

        Raises
        ------
        Overloaded
            If it would wait longer than is worth its while.
        """
        extensions = scope.get("extensions") or {}
        ahead = extensions.get(AHEAD)
        if (self.waiting if ahead is None else ahead) - len(self.arriving) > self.most:
            self.shed += 1
            raise Overloaded("More requests wait here than can be answered in time. Ask again in a second.")
