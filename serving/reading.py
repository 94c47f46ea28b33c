"""Stored features as a release reads them: one row on the event loop, many beside it, late ones given up."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from knownat.contract.read_plan import FeatureReader, ReadPlan, ReadResult, Status
from knownat.errors import KnownatError, RowsNotConserved, StoreUnavailable
from knownat.stores.packed_read import JointRead, OneRow, PackedReader
from serving.lanes import Lane, LaneFailed

T = TypeVar("T")

# While nobody's rows are found, it is looked so often whether anybody has any.
_LOOK_AGAIN_SECONDS = 0.25


class ReadFailed(Exception):
    """The features could not be read; the cause says why.

    ``store`` is False where the store answered, but with rows that cannot be trusted.
    """

    def __init__(self, why: str, *, store: bool) -> None:
        super().__init__(why)
        self.store = store


class Features(Protocol):
    """The stored features of one plan."""

    @property
    def waits(self) -> bool:
        """Whether :meth:`many` may wait for another process; if not, few rows may be read on the loop."""
        ...

    async def one(self, keys: Mapping[str, object], now_us: int, seconds: float) -> OneRow:
        """Read one row, ttl measured at ``now_us``, in at most so many seconds.

        Raises
        ------
        ReadFailed
            If no view could be read.
        """
        ...

    def many(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read n rows, on a thread that may be kept waiting.

        Raises
        ------
        ReadFailed
            If no view could be read.
        """
        ...


class PackedFeatures:
    """Packed rows: read in place where they are mapped into memory, awaited where they are a server's."""

    def __init__(self, reader: PackedReader) -> None:
        self._reader = reader
        self.waits = reader.waits
        self._looked_at = -math.inf
        self._lost = False

    async def one(self, keys: Mapping[str, object], now_us: int, seconds: float) -> OneRow:
        """Read one row."""
        try:
            if not self.waits:
                row = self._reader.read_one(keys, now_us)
                if _nothing_in(row.status):
                    self._refuse_lost()
                return row
            async with asyncio.timeout(seconds):
                row = await self._reader.read_one_async(keys, now_us)
                if _nothing_in(row.status):
                    await asyncio.to_thread(self._refuse_lost)
                return row
        except TimeoutError as error:
            raise ReadFailed("no answer in time", store=True) from error
        except (KnownatError, OSError) as error:
            raise _failed(error) from error

    def together(
        self,
        asked: Sequence[Mapping[str, object]],
        seconds: float,
        then: Callable[[JointRead | ReadFailed], None],
    ) -> None:
        """Read a row for each question, without a task or a thread, and hand on what the store gave, in time.

        Where it does not wait for another process, it is handed on at once.
        """
        self._reader.read_together(
            asked, seconds, lambda got: then(_failed(got) if isinstance(got, Exception) else got)
        )

    def row(self, found: JointRead, place: int, now_us: int) -> OneRow | None:
        """Decode one row of those; None where it must be read by :meth:`one` to tell what it means.

        Raises
        ------
        ReadFailed
            If it cannot be trusted, or the store has lost everybody's rows.
        """
        try:
            row = found.row(place, now_us)
            if _nothing_in(row.status):
                if self.waits and self._must_look(time.monotonic()):
                    return None
                self._refuse_lost()
        except KnownatError as error:
            raise _failed(error) from error
        return row

    def many(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read n rows."""
        try:
            found = self._reader.read(keys, now_us)
            if all(map(_nothing_in, found.status.values())):
                self._refuse_lost()
        except (KnownatError, OSError) as error:
            raise _failed(error) from error
        return found

    def _refuse_lost(self) -> None:
        """Tell entities that have no rows from a store that has lost everybody's."""
        now = time.monotonic()
        if self._must_look(now):
            self._looked_at, self._lost = now, self._reader.lost()
        if self._lost:
            raise ReadFailed("the store has lost its rows", store=True)

    def _must_look(self, now: float) -> bool:
        return now - self._looked_at >= _LOOK_AGAIN_SECONDS


class ThreadedFeatures:
    """Any other reader, on a thread of its own: it may block, and need not be safe to share."""

    waits = True

    def __init__(self, plan: ReadPlan, reader: FeatureReader, lane: Lane) -> None:
        self._columns = [view.column(f.name) for view in plan.views for f in view.features]
        self._views = [view.name for view in plan.views]
        self._reader = reader
        self._lane = lane

    async def one(self, keys: Mapping[str, object], now_us: int, seconds: float) -> OneRow:
        """Read one row."""
        asked = {name: [value] for name, value in keys.items()}
        try:
            found = await self._lane.run(lambda: self._reader.read(asked, now_us), deadline=seconds)
        except (KnownatError, LaneFailed) as error:
            raise _failed(error) from error
        _refuse_nothing(found)
        return OneRow(
            [_only(found.values, name) for name in self._columns],
            [_only(found.event_us, view) for view in self._views],
            [_only(found.created_us, view) for view in self._views],
            [_only(found.status, view) for view in self._views],
        )

    def many(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read n rows."""
        try:
            found = self._lane.wait(lambda: self._reader.read(keys, now_us))
        except (KnownatError, LaneFailed) as error:
            raise _failed(error) from error
        _refuse_nothing(found)
        return found


def features_of(plan: ReadPlan, reader: FeatureReader, lane: Lane) -> Features:
    """Give a release's reader the way to be asked that fits it."""
    if isinstance(reader, PackedReader):
        return PackedFeatures(reader)
    return ThreadedFeatures(plan, reader, lane)


def _nothing_in(statuses: Iterable[Status]) -> bool:
    return all(status is Status.NOT_FOUND for status in statuses)


def _failed(error: Exception) -> ReadFailed:
    # Looked at by its kind: the text of a client's error may hold an address or a key.
    why = str(error) if isinstance(error, LaneFailed) else type(error).__name__
    return ReadFailed(why, store=isinstance(error, (StoreUnavailable, LaneFailed, OSError)))


def _refuse_nothing(found: ReadResult) -> None:
    # One view that cannot be read degrades an answer; none that can be read is no answer at all.
    statuses = [status for column in found.status.values() for status in column]
    if statuses and all(status is Status.UNAVAILABLE for status in statuses):
        raise ReadFailed("no view could be read", store=True)


def _only(columns: Mapping[str, list[T]], name: str) -> T:
    values = columns[name]
    if len(values) != 1:
        raise RowsNotConserved(f"'{name}' came back with {len(values)} rows for 1 entity.")
    return values[0]
