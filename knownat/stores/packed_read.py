"""A read plan on packed rows: keys to bytes, one round trip, straight to values or a matrix."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from knownat.clock import CLOCK_SKEW_US
from knownat.contract.read_plan import PlanView, ReadPlan, ReadResult, Status
from knownat.errors import BadKey, StoreUnavailable
from knownat.stores.codec import RowField, row_dtype
from knownat.stores.codec_read import Codes, record_times
from knownat.stores.plan_questions import Asked, Subject, ask, flat, rows_asked
from knownat.stores.row_keys import ViewName, row_key
from knownat.stores.rows import Found, RowReads
from knownat.stores.view_rows import ViewRows

STATUS = (Status.NOT_FOUND, Status.PRESENT, Status.EXPIRED, Status.NOT_YET)
"""What the numbers in :attr:`FeatureMatrix.status` stand for."""

NO_TIME = -(2**63)
"""The event and created time in a :class:`FeatureMatrix` where a view has no row."""

_NOT_FOUND, _PRESENT, _EXPIRED, _NOT_YET = range(len(STATUS))


Value = TypeVar("Value")
Times = npt.NDArray[np.int64]


class OneRow(NamedTuple):
    """One entity row as read: a value for each of the reader's columns, the rest by view."""

    values: list[object]
    event_us: list[int | None]
    created_us: list[int | None]
    status: list[Status]


Decode = Callable[[list[bytes | None], list[bytes | None], int], OneRow]


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
        self.prefix = self.rows.name.prefix
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

    def states(self, event: Times, created: Times, now_us: int) -> npt.NDArray[np.uint8] | None:
        """Number the status of rows with these times; None if all of them are present."""
        oldest, latest = self.oldest(now_us), now_us + CLOCK_SKEW_US
        if event.min() >= oldest and event.max() <= latest and created.max() <= latest:
            return None
        states = np.full(len(event), _PRESENT, dtype=np.uint8)
        states[event < oldest] = _EXPIRED
        states[np.maximum(event, created) > latest] = _NOT_YET
        return states


@dataclass(frozen=True)
class _Question:
    """What each view is asked for, in the views' order."""

    count: int
    asked: list[Asked]
    keys: list[list[bytes]]

    def by_view(self, views: list[_PlannedView]) -> Iterator[tuple[_PlannedView, Asked, list[bytes]]]:
        return zip(views, self.asked, self.keys, strict=True)


class JointRead:
    """What a store gave for several entity rows at once."""

    def __init__(self, decode: Decode, keys: Sequence[list[bytes | None]], found: list[bytes | None]) -> None:
        self._decode = decode
        self._keys = keys
        self._found = found
        ends = accumulate(len(some) - some.count(None) for some in keys)
        self._starts = [0, *ends]

    def row(self, place: int, now_us: int) -> OneRow:
        """Decode the row at a place, ttl measured at ``now_us``; raises as :meth:`PackedReader.read_one`."""
        found = self._found[self._starts[place] : self._starts[place + 1]]
        return self._decode(self._keys[place], found, now_us)


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
        subjects = [Subject(view.request_keys, tuple(view.rows.dtypes)) for view in self._views]
        # Views of one subject ask for the same entities.
        self._subjects = list(dict.fromkeys(subjects))
        self._subject_of = [self._subjects.index(subject) for subject in subjects]
        self.waits = store.waits
        """Whether a read may wait for another process, so that an event loop must not be in its way."""

    def lost(self) -> bool:
        """Tell whether the store holds no view's rows any more, as a Redis that was restarted empty.

        Raises
        ------
        StoreUnavailable
            If there is no answer.
        """
        names = [view.rows.name for view in self._views]
        # A view that was filled has a watermark for good, and one that was only pushed to a schema.
        return bool(names) and not any(
            self._store.watermark(name) is not None or self._store.schemas(name) for name in names
        )

    def read_one(self, keys: Mapping[str, object], now_us: int) -> OneRow:
        """Read one entity row, ttl measured at ``now_us``, without numpy's overhead."""
        asked = self._keys(keys)
        return self._one(asked, self._store.read([key for key in asked if key is not None]), now_us)

    async def read_one_async(self, keys: Mapping[str, object], now_us: int) -> OneRow:
        """Do as :meth:`read_one` does, on an event loop."""
        asked = self._keys(keys)
        return self._one(asked, await self._store.read_async([k for k in asked if k is not None]), now_us)

    def read_together(
        self,
        asked: Sequence[Mapping[str, object]],
        seconds: float,
        then: Callable[[JointRead | StoreUnavailable], None],
    ) -> None:
        """Ask the store for the rows of several entity rows in one go, and hand on what it gave.

        It is handed on at once where the store does not wait, else by the running event loop, at most so
        many seconds later; each row is decoded when it is asked for.
        """
        keys = [self._keys(entity) for entity in asked]
        found = flat([[key for key in some if key is not None] for some in keys])

        def hand_on(rows: Found) -> None:
            then(rows if isinstance(rows, StoreUnavailable) else JointRead(self._one, keys, rows))

        self._store.fetch(found, seconds, hand_on)

    def read_matrix(self, keys: Mapping[str, Sequence[object]], now_us: int) -> FeatureMatrix:
        """Read n entity rows as numbers; a feature that is none needs ``categories``."""
        question = self._question(keys)
        return self._matrix(question, self._store.read(flat(question.keys)), now_us)

    async def read_matrix_async(self, keys: Mapping[str, Sequence[object]], now_us: int) -> FeatureMatrix:
        """Do as :meth:`read_matrix` does, on an event loop."""
        question = self._question(keys)
        return self._matrix(question, await self._store.read_async(flat(question.keys)), now_us)

    def read(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read n entity rows as Python values, ttl measured at ``now_us``."""
        question = self._question(keys)
        return self._result(question, self._store.read(flat(question.keys)), now_us)

    async def read_async(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Do as :meth:`read` does, on an event loop."""
        question = self._question(keys)
        return self._result(question, await self._store.read_async(flat(question.keys)), now_us)

    def _keys(self, keys: Mapping[str, object]) -> list[bytes | None]:
        try:
            entities = [subject.entity(keys) for subject in self._subjects]
        except KeyError as error:
            raise BadKey(f"Key {error} is missing.") from error
        return [
            None if (entity := entities[at]) is None else row_key(view.prefix, entity)
            for view, at in zip(self._views, self._subject_of, strict=True)
        ]

    def _question(self, keys: Mapping[str, Sequence[object]]) -> _Question:
        count = rows_asked(keys)
        subjects = [ask(subject, keys, count) for subject in self._subjects]
        asked = [subjects[at] for at in self._subject_of]
        return _Question(
            count,
            asked,
            [view.rows.keys(some.entities) for view, some in zip(self._views, asked, strict=True)],
        )

    def _one(self, keys: list[bytes | None], found: list[bytes | None], now_us: int) -> OneRow:
        values: list[object] = []
        events: list[int | None] = []
        times: list[int | None] = []
        states: list[Status] = []
        latest = now_us + CLOCK_SKEW_US
        rows = iter(found)
        for view, key in zip(self._views, keys, strict=True):
            if key is None or (row := next(rows)) is None:
                values += view.nothing
                events.append(None)
                times.append(None)
                states.append(STATUS[_NOT_FOUND])
                continue
            read, event, created = view.rows.one(key, row)
            state = _PRESENT
            if event > latest or created > latest:
                state = _NOT_YET
            elif event < view.oldest(now_us):
                state = _EXPIRED
            values += read if state == _PRESENT else view.nothing
            events.append(event)
            times.append(created)
            states.append(STATUS[state])
        return OneRow(values, events, times, states)

    def _matrix(self, question: _Question, rows: list[bytes | None], now_us: int) -> FeatureMatrix:
        count, by_view = question.count, (len(self._views), question.count)
        result = FeatureMatrix(
            np.empty((count, len(self.columns))),
            np.empty(by_view, dtype=np.int64),
            np.empty(by_view, dtype=np.int64),
            np.empty(by_view, dtype=np.uint8),
        )
        first = column = 0
        for at, (view, asked, keys) in enumerate(question.by_view(self._views)):
            last = column + len(view.nothing)
            part = _Part(
                result.values[:, column:last],
                result.event_us[at],
                result.created_us[at],
                result.status[at],
            )
            found = part if asked.plain else _Part.of(asked.count, len(view.nothing))
            _fill(found, view, keys, rows[first : first + len(keys)], now_us)
            if found is not part:
                part.spread(found, asked)
            first, column = first + len(keys), last
        return result

    def _result(self, question: _Question, rows: list[bytes | None], now_us: int) -> ReadResult:
        result = ReadResult({}, {}, {}, {})
        first = 0
        for view, asked, keys in question.by_view(self._views):
            columns, event_us, created_us, status = _lists(
                view, keys, rows[first : first + len(keys)], now_us
            )
            if not asked.plain:
                wants = _wants(asked, question.count)
                columns = [_spread(column, wants, None) for column in columns]
                event_us, created_us = _spread(event_us, wants, None), _spread(created_us, wants, None)
                status = _spread(status, wants, Status.NOT_FOUND)
            names = [view.plan.column(feature.name) for feature in view.plan.features]
            result.values.update(zip(names, columns, strict=True))
            result.event_us[view.plan.name] = event_us
            result.created_us[view.plan.name] = created_us
            result.status[view.plan.name] = status
            first += len(keys)
        return result


@dataclass(frozen=True)
class _Part:
    """One view's part of a matrix, or the same for its distinct entities."""

    values: npt.NDArray[np.float64]
    event_us: Times
    created_us: Times
    status: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, rows: int, width: int) -> "_Part":
        times = np.empty((2, rows), dtype=np.int64)
        return cls(np.empty((rows, width)), times[0], times[1], np.empty(rows, dtype=np.uint8))

    def clear(self) -> None:
        self.values.fill(np.nan)
        self.event_us.fill(NO_TIME)
        self.created_us.fill(NO_TIME)
        self.status.fill(_NOT_FOUND)

    def spread(self, found: "_Part", asked: Asked) -> None:
        """Give each entity row what was found for the entity it wants."""
        if asked.rows is not None:
            self.clear()
        rows = slice(None) if asked.rows is None else asked.rows
        wants = slice(None) if asked.wants is None else asked.wants
        self.values[rows] = found.values[wants]
        self.event_us[rows] = found.event_us[wants]
        self.created_us[rows] = found.created_us[wants]
        self.status[rows] = found.status[wants]


def _fill(
    part: _Part, view: _PlannedView, keys: list[bytes], rows: Sequence[bytes | None], now_us: int
) -> None:
    groups = list(view.rows.groups(keys, rows))
    # One group of all keys leaves nothing open.
    if not (len(groups) == 1 and isinstance(groups[0].places, slice)):
        part.clear()
    for group in groups:
        places = group.places
        whole = isinstance(places, slice)
        values = part.values if whole else np.empty((len(group.rows), len(view.nothing)))
        group.decoder.fill_matrix(group.rows, group.records, values, view.codes)
        event, created = record_times(group.records)
        states = view.states(event, created, now_us)
        if states is not None:
            values[states != _PRESENT] = np.nan
        if not whole:
            part.values[places] = values
        part.event_us[places] = event
        part.created_us[places] = created
        part.status[places] = _PRESENT if states is None else states


def _lists(
    view: _PlannedView, keys: list[bytes], rows: Sequence[bytes | None], now_us: int
) -> tuple[list[list[object]], list[int | None], list[int | None], list[Status]]:
    """Decode one view's rows to Python values, their times and what became of each key."""
    columns: list[list[object]] = [[None] * len(keys) for _ in view.nothing]
    event_us: list[int | None] = [None] * len(keys)
    created_us: list[int | None] = [None] * len(keys)
    status = [Status.NOT_FOUND] * len(keys)
    for group in view.rows.groups(keys, rows):
        event, created = record_times(group.records)
        states = view.states(event, created, now_us)
        decoded = group.decoder.columns(group.rows, group.records)
        places = group.positions
        if states is not None:
            alive = (states == _PRESENT).tolist()
            decoded = [[v if a else None for v, a in zip(vs, alive, strict=True)] for vs in decoded]
        for column, values in zip(columns, decoded, strict=True):
            _scatter(column, places, values)
        _scatter(event_us, places, event.tolist())
        _scatter(created_us, places, created.tolist())
        numbers = [_PRESENT] * len(places) if states is None else states.tolist()
        _scatter(status, places, [STATUS[number] for number in numbers])
    return columns, event_us, created_us, status


def _wants(asked: Asked, count: int) -> list[int]:
    """Return of each entity row the place of what it wants, -1 for nothing."""
    wants = np.arange(asked.count) if asked.wants is None else asked.wants
    if asked.rows is None:
        return list(wants.tolist())
    places = np.full(count, -1)
    places[asked.rows] = wants
    return list(places.tolist())


def _spread(values: Sequence[Value], wants: list[int], nothing: Value) -> list[Value]:
    return [nothing if place < 0 else values[place] for place in wants]


def _scatter(column: list[Value], places: Sequence[int], values: Sequence[Value]) -> None:
    if len(places) == len(column):
        column[:] = values
        return
    for place, value in zip(places, values, strict=True):
        column[place] = value
