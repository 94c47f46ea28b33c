"""When there is more to answer than can be answered in time, the rest is told so at once."""

from collections.abc import Sized
from dataclasses import dataclass

from serving.errors import Overloaded


@dataclass
class Pressure:
    """How many requests of this process wait or are being answered, and how many may.

    Each request is a task of the event loop from its first byte on, so their number is how long the
    newest will wait: about a tenth of a millisecond each.
    """

    most: int = 100
    tasks: Sized = ()
    """The server's own set of them, given when it starts."""
    arriving: Sized = ()
    """Those of them that wait for the rest of their own request, which costs nobody anything."""
    shed: int = 0

    def relieve(self) -> None:
        """Let a request be answered.

        Raises
        ------
        Overloaded
            If it would wait longer than is worth its while.
        """
        if len(self.tasks) - len(self.arriving) > self.most:
            self.shed += 1
            raise Overloaded("More requests wait here than can be answered in time. Ask again in a second.")
