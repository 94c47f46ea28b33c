"""Stored features as a release reads them: one row on the event loop, many beside it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from knownat.contract.read_plan import FeatureReader, ReadPlan, ReadResult, Status
from knownat.errors import KnownatError, RowsNotConserved
from knownat.stores.packed_read import OneRow, PackedReader
from serving.errors import StoreUnavailable
from serving.lanes import Lane, LaneFailed

_logger = logging.getLogger(__name__)

T = TypeVar("T")

# Valid keys that no entity has; reading them proves the store without touching anyone's row.
_NOBODY: Mapping[str, str | int] = {"string": "\x01nobody", "int64": -(2**63)}


class Features(Protocol):
    """The stored features of one plan."""

    @property
    def waits(self) -> bool:
        """Whether :meth:`many` may wait for another process; if not, few rows may be read on the loop."""
        ...

    async def one(self, keys: Mapping[str, object], now_us: int) -> OneRow:
        """Read one row, ttl measured at ``now_us``.

        Raises
        ------
        StoreUnavailable
            If no view could be read.
        """
        ...

    def many(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read n rows, on a thread that may be kept waiting.

        Raises
        ------
        StoreUnavailable
            If no view could be read.
        """
        ...


class PackedFeatures:
    """Packed rows: read in place where they are mapped into memory, awaited where they are a server's."""

    def __init__(self, model: str, reader: PackedReader) -> None:
        self._model = model
        self._reader = reader
        self.waits = reader.waits

    async def one(self, keys: Mapping[str, object], now_us: int) -> OneRow:
        """Read one row."""
        try:
            if self.waits:
                return await self._reader.read_one_async(keys, now_us)
            return self._reader.read_one(keys, now_us)
        except (KnownatError, OSError) as error:
            raise _unavailable(self._model, error) from error

    def many(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read n rows."""
        try:
            return self._reader.read(keys, now_us)
        except (KnownatError, OSError) as error:
            raise _unavailable(self._model, error) from error


class ThreadedFeatures:
    """Any other reader, on a thread of its own: it may block, and need not be safe to share."""

    waits = True

    def __init__(self, model: str, plan: ReadPlan, reader: FeatureReader, lane: Lane) -> None:
        self._model = model
        self._columns = [view.column(f.name) for view in plan.views for f in view.features]
        self._views = [view.name for view in plan.views]
        self._reader = reader
        self._lane = lane

    async def one(self, keys: Mapping[str, object], now_us: int) -> OneRow:
        """Read one row."""
        asked = {name: [value] for name, value in keys.items()}
        try:
            found = await self._lane.run(lambda: self._reader.read(asked, now_us))
        except (KnownatError, LaneFailed) as error:
            raise _unavailable(self._model, error) from error
        self._refuse_nothing(found)
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
            raise _unavailable(self._model, error) from error
        self._refuse_nothing(found)
        return found

    def _refuse_nothing(self, found: ReadResult) -> None:
        # One view that cannot be read degrades an answer; none that can be read is no answer at all.
        statuses = [status for column in found.status.values() for status in column]
        if statuses and all(status is Status.UNAVAILABLE for status in statuses):
            raise StoreUnavailable(f"No view of '{self._model}' could be read. Try again later.")


def _only(columns: Mapping[str, list[T]], name: str) -> T:
    values = columns[name]
    if len(values) != 1:
        raise RowsNotConserved(f"'{name}' came back with {len(values)} rows for 1 entity.")
    return values[0]


def features_of(model: str, plan: ReadPlan, reader: FeatureReader, lane: Lane) -> Features:
    """Give a release's reader the way to be asked that fits it."""
    if isinstance(reader, PackedReader):
        return PackedFeatures(model, reader)
    return ThreadedFeatures(model, plan, reader, lane)


async def store_problem(features: Features, plan: ReadPlan, now_us: int) -> str | None:
    """Return why the views cannot be read, by reading a row that nobody has."""
    keys = {name: _NOBODY[dtype] for name, dtype in plan.request_keys.items()}
    try:
        found = await features.one(keys, now_us)
    except StoreUnavailable as error:
        return error.message
    views = [
        view.name
        for view, status in zip(plan.views, found.status, strict=True)
        if status is Status.UNAVAILABLE
    ]
    return f"views {views} cannot be read" if views else None


def _unavailable(model: str, error: BaseException) -> StoreUnavailable:
    _logger.error("%s: features could not be read: %s", model, error)
    why = f"{error}" if isinstance(error, LaneFailed) else type(error).__name__
    return StoreUnavailable(f"The features of '{model}' could not be read: {why}.")
