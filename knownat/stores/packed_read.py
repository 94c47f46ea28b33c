"""A read plan on packed rows: keys to bytes, one round trip, straight to values or a matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from knownat.clock import CLOCK_SKEW_US
from knownat.contract.read_plan import PlanView, ReadPlan, ReadResult, Status
from knownat.errors import BadKey
from knownat.stores.codec import RowField, row_dtype
from knownat.stores.codec_read import Codes, record_times, row_times
from knownat.stores.row_keys import Entities, ViewName
from knownat.stores.rows import RowReads
from knownat.stores.view_rows import Question, ViewRows

STATUS = (Status.NOT_FOUND, Status.PRESENT, Status.EXPIRED, Status.NOT_YET)
"""What the numbers in :attr:`FeatureMatrix.status` stand for."""

NO_TIME = -(2**63)
"""The event and created time in a :class:`FeatureMatrix` where a view has no row."""

_PRESENT, _EXPIRED, _NOT_YET = map(STATUS.index, (Status.PRESENT, Status.EXPIRED, Status.NOT_YET))


Value = TypeVar("Value")
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OneRow:
    """One entity row as read: a value for each of the reader's columns, the rest by view."""

    values: list[object]
    event_us: list[int | None]
    created_us: list[int | None]
    status: list[Status]


@dataclass(frozen=True)
class FeatureMatrix:
    """Many entity rows as read: ``values`` is (rows, columns), the rest (views, rows).

    Null is NaN. A view without a row has the time ``NO_TIME``.
    """

    values: npt.NDArray[np.float64]
    event_us: npt.NDArray[np.int64]
    created_us: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint8]


class _PlannedView:
    def __init__(
        self, store: RowReads, project: str, view: PlanView, categories: Mapping[str, Sequence[str]]
    ) -> None:
        self.plan = view
        wanted = [RowField(feature.name, row_dtype(feature.dtype)) for feature in view.features]
        keys = {key.view_key: key.dtype for key in view.keys}
        self.rows = ViewRows(store, ViewName(project, view.stored_view), keys=keys, wanted=wanted)
        asked_as = {key.view_key: key.request_key for key in view.keys}
        self.request_keys = tuple(asked_as[name] for name in self.rows.key_order)
        self.ttl_us = view.ttl_us
        self.nothing: list[object] = [None] * len(wanted)
        self.codes: Codes = {
            feature.name: {
                text.encode(): float(i) for i, text in enumerate(categories[view.column(feature.name)])
            }
            for feature in view.features
            if view.column(feature.name) in categories
        }

    def oldest(self, now_us: int) -> int:
        """Return the least event time that is not expired."""
        return now_us - self.ttl_us if self.ttl_us else NO_TIME

    def states(self, event: Times, created: Times, now_us: int) -> npt.NDArray[np.uint8]:
        """Number the status of rows with these times."""
        states = np.full(len(event), _PRESENT, dtype=np.uint8)
        if self.ttl_us:
            states[event < now_us - self.ttl_us] = _EXPIRED
        states[np.maximum(event, created) > now_us + CLOCK_SKEW_US] = _NOT_YET
        return states


class PackedReader:
    """Reads the stored features of one plan: a ``knownat.contract.read_plan.FeatureReader``.

    ``columns`` are the features' full names in the order of every answer, ``views`` the views'.
    ``categories`` gives text features, by full name, their numbers in :meth:`read_matrix`. A null
    key matches nothing. A value is given only if its row is PRESENT: not older than its ttl, and known by
    ``now_us`` (and a second, by which two clocks may differ). Where a row cannot be trusted
    (CorruptRow, UnknownSchema, SchemaMismatch) or the store does not answer (StoreUnavailable), the
    whole read fails: no value is made up.
    """

    def __init__(
        self, store: RowReads, plan: ReadPlan, *, categories: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._store = store
        self._views = [_PlannedView(store, plan.project, view, categories or {}) for view in plan.views]
        self.columns = tuple(view.column(f.name) for view in plan.views for f in view.features)
        self.views = tuple(view.name for view in plan.views)
        self.waits = store.waits
        """Whether a read may wait for another process, so that an event loop must not be in its way."""

    def read_one(self, keys: Mapping[str, object], now_us: int) -> OneRow:
        """Read one entity row, ttl measured at ``now_us``, without numpy's overhead."""
        asked = self._keys(keys)
        return self._one(asked, self._store.read([key for key in asked if key is not None]), now_us)

    async def read_one_async(self, keys: Mapping[str, object], now_us: int) -> OneRow:
        """Do as :meth:`read_one` does, on an event loop."""
        asked = self._keys(keys)
        return self._one(asked, await self._store.read_async([k for k in asked if k is not None]), now_us)

    def read_matrix(self, keys: Mapping[str, Sequence[object]], now_us: int) -> FeatureMatrix:
        """Read n entity rows as numbers; a feature that is none needs ``categories``."""
        asked, count = self._questions(keys)
        return self._matrix(asked, self._store.read(_flat(asked)), count, now_us)

    async def read_matrix_async(self, keys: Mapping[str, Sequence[object]], now_us: int) -> FeatureMatrix:
        """Do as :meth:`read_matrix` does, on an event loop."""
        asked, count = self._questions(keys)
        return self._matrix(asked, await self._store.read_async(_flat(asked)), count, now_us)

    def read(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read n entity rows as Python values, ttl measured at ``now_us``."""
        asked, count = self._questions(keys)
        return self._result(asked, self._store.read(_flat(asked)), count, now_us)

    async def read_async(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Do as :meth:`read` does, on an event loop."""
        asked, count = self._questions(keys)
        return self._result(asked, await self._store.read_async(_flat(asked)), count, now_us)

    def _keys(self, keys: Mapping[str, object]) -> list[bytes | None]:
        try:
            return [view.rows.key([keys[name] for name in view.request_keys]) for view in self._views]
        except KeyError as error:
            raise BadKey(f"Key {error} is missing.") from error

    def _questions(self, keys: Mapping[str, Sequence[object]]) -> tuple[list[Question], int]:
        count = max((len(column) for column in keys.values()), default=1)
        if any(len(column) != count for column in keys.values()):
            raise BadKey("Every key must have the same number of rows.")
        # Views of one subject ask for the same entities: these are encoded once.
        encoded: dict[tuple[object, ...], tuple[Entities, npt.NDArray[np.intp]]] = {}
        questions = []
        for view in self._views:
            named = (view.request_keys, *view.rows.dtypes)
            if (known := encoded.get(named)) is None:
                known = encoded[named] = _entities(view, keys, count)
            questions.append(view.rows.question(*known))
        return questions, count

    def _one(self, keys: list[bytes | None], found: list[bytes | None], now_us: int) -> OneRow:
        one = OneRow([], [], [], [])
        latest = now_us + CLOCK_SKEW_US
        rows = iter(found)
        for view, key in zip(self._views, keys, strict=True):
            row = None if key is None else next(rows)
            if key is None or row is None:
                one.values.extend(view.nothing)
                one.event_us.append(None)
                one.created_us.append(None)
                one.status.append(Status.NOT_FOUND)
                continue
            values = view.rows.one(key, row)
            event, created = row_times(row)
            status = Status.PRESENT
            if event > latest or created > latest:
                status = Status.NOT_YET
            elif event < view.oldest(now_us):
                status = Status.EXPIRED
            one.values.extend(values if status is Status.PRESENT else view.nothing)
            one.event_us.append(event)
            one.created_us.append(created)
            one.status.append(status)
        return one

    def _matrix(
        self, asked: list[Question], rows: list[bytes | None], count: int, now_us: int
    ) -> FeatureMatrix:
        by_view = (len(self._views), count)
        result = FeatureMatrix(
            np.full((count, len(self.columns)), np.nan),
            np.full(by_view, NO_TIME),
            np.full(by_view, NO_TIME),
            np.zeros(by_view, dtype=np.uint8),
        )
        first = column = 0
        for at, (view, question) in enumerate(zip(self._views, asked, strict=True)):
            block = result.values[:, column : column + len(view.nothing)]
            for group in view.rows.groups(question, rows[first : first + len(question.keys)]):
                whole = len(group.rows) == count
                values = block if whole else np.empty((len(group.rows), len(view.nothing)))
                group.decoder.fill_matrix(group.rows, group.records, values, view.codes)
                event, created = record_times(group.records)
                states = view.states(event, created, now_us)
                if (withheld := states != _PRESENT).any():
                    values[withheld] = np.nan
                if not whole:
                    block[group.places] = values
                result.event_us[at, group.places] = event
                result.created_us[at, group.places] = created
                result.status[at, group.places] = states
            first += len(question.keys)
            column += len(view.nothing)
        return result

    def _result(self, asked: list[Question], rows: list[bytes | None], count: int, now_us: int) -> ReadResult:
        result = ReadResult({}, {}, {}, {})
        first = 0
        for view, question in zip(self._views, asked, strict=True):
            columns: list[list[object]] = [[None] * count for _ in view.nothing]
            event_us: list[int | None] = [None] * count
            created_us: list[int | None] = [None] * count
            status = [Status.NOT_FOUND] * count
            for group in view.rows.groups(question, rows[first : first + len(question.keys)]):
                event, created = record_times(group.records)
                states = view.states(event, created, now_us)
                places, alive = group.places.tolist(), (states == _PRESENT).tolist()
                _scatter(event_us, places, event.tolist())
                _scatter(created_us, places, created.tolist())
                _scatter(status, places, [STATUS[state] for state in states.tolist()])
                decoded = group.decoder.columns(group.rows, group.records)
                for column, values in zip(columns, decoded, strict=True):
                    kept = (
                        values
                        if all(alive)
                        else [v if a else None for v, a in zip(values, alive, strict=True)]
                    )
                    _scatter(column, places, kept)
            names = [view.plan.column(feature.name) for feature in view.plan.features]
            result.values.update(zip(names, columns, strict=True))
            result.event_us[view.plan.name] = event_us
            result.created_us[view.plan.name] = created_us
            result.status[view.plan.name] = status
            first += len(question.keys)
        return result


def _entities(
    view: _PlannedView, keys: Mapping[str, Sequence[object]], count: int
) -> tuple[Entities, npt.NDArray[np.intp]]:
    try:
        columns = [keys[name] for name in view.request_keys]
    except KeyError as error:
        raise BadKey(f"Key {error} is missing.") from error
    places = np.arange(count)
    if any(None in column for column in columns):
        whole = [i for i, values in enumerate(zip(*columns, strict=True)) if None not in values]
        columns, places = [[column[i] for i in whole] for column in columns], places[whole]
    return Entities(view.rows.dtypes, columns, len(places)), places


def _flat(asked: list[Question]) -> list[bytes]:
    return [key for question in asked for key in question.keys]


def _scatter(column: list[Value], places: list[int], values: Sequence[Value]) -> None:
    if len(places) == len(column):
        column[:] = values
        return
    for place, value in zip(places, values, strict=True):
        column[place] = value
