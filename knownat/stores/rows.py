"""Where packed rows live: one protocol, an embedded store (LMDB) and a shared one (Redis)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from knownat.errors import StoreUnavailable
from knownat.stores.codec import RowSchema
from knownat.stores.row_keys import ViewName

Found = list[bytes | None] | StoreUnavailable
"""Rows by the keys they were asked for, or why there are none."""


@dataclass(frozen=True)
class Stored:
    """What became of the rows of one write: newest in their key, or outranked by what was there."""

    stored: int
    outranked: int


class RowReads(Protocol):
    """What a reader needs of a store."""

    @property
    def waits(self) -> bool:
        """Whether a read may wait for another process."""
        ...

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the rows under these keys in one round trip, None where there is none.

        Raises
        ------
        StoreUnavailable
            If there is no whole answer within the deadline.
        """
        ...

    async def read_async(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Do as :meth:`read` does, without blocking the event loop while the answer is on its way."""
        ...

    def fetch(self, keys: Sequence[bytes], seconds: float, then: Callable[[Found], None]) -> None:
        """Read as :meth:`read` does, from an event loop, and hand on what was found, or StoreUnavailable.

        A store that does not wait hands it on at once, another when it is there, at most so many
        seconds later.
        """
        ...

    def schemas(self, view: ViewName) -> Mapping[bytes, RowSchema]:
        """Return every schema a row of this view may name, by :attr:`RowSchema.identity`."""
        ...

    def watermark(self, view: ViewName) -> int | None:
        """Return the time up to which visible rows are in, in UTC microseconds, or None."""
        ...


class RowStore(RowReads, Protocol):
    """What holds packed rows. A row is replaced only by one that outranks it."""

    def write(
        self, view: ViewName, schema: RowSchema, keys: Sequence[bytes], rows: Sequence[bytes]
    ) -> Stored:
        """Write one batch, newest wins, its schema with it; a reader sees whole rows only.

        Raises
        ------
        StoreFull
            If there is no room for all of it; what was stored before is still there.
        StoreUnavailable
            If the store did not answer in time. Writing the batch again is safe.
        """
        ...

    def set_watermark(self, view: ViewName, us: int, *, shape: bytes = b"") -> None:
        """Record, after a run's rows, the time up to which they are in; it never goes back.

        ``shape`` names what the rows were made from, for the next run to compare.
        """
        ...

    def shape(self, view: ViewName) -> bytes:
        """Return the shape that was last recorded with a watermark; empty if there was none."""
        ...

    def scan(self, view: ViewName) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and row of a view, in no order."""
        ...

    def delete_view(self, view: ViewName) -> int:
        """Delete a view's rows, schemas, watermark and shape; return how many rows there were."""
        ...

    def delete_project(self, project: str) -> int:
        """Delete everything of a project; return how many rows there were."""
        ...

    def dangers(self) -> list[str]:
        """Say what of the store's own settings may cost rows, and what to do about it."""
        ...

    def close(self) -> None:
        """Let go of files and connections. Closing twice is safe."""
        ...
