"""A read plan on packed rows: keys to bytes, one round trip, straight to values or a matrix."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from knownat.clock import CLOCK_SKEW_US
from knownat.contract.read_plan import ReadPlan, ReadResult, Status
from knownat.errors import BadKey, StoreUnavailable
from knownat.stores.freed_memory import keep_some
from knownat.stores.packed_lists import result_of
from knownat.stores.packed_matrix import FeatureMatrix, matrix_of
from knownat.stores.plan_questions import Question, Subject, Subjects, rows_asked
from knownat.stores.planned_view import EXPIRED, NO_TIME, NOT_YET, PRESENT, STATUS, PlannedView
from knownat.stores.row_keys import row_key
from knownat.stores.rows import Found, RowReads

__all__ = ["NO_TIME", "STATUS", "FeatureMatrix", "JointRead", "OneRow", "PackedReader"]


class OneRow(NamedTuple):
    """One entity row as read: a value for each of the reader's columns, the rest by view."""

    values: list[object]
    event_us: list[int | None]
    created_us: list[int | None]
    status: list[Status]


Decode = Callable[[list[bytes | None], list[bytes | None], int], OneRow]


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
        keep_some()
        self._store = store
        self._views = [PlannedView(store, plan.project, view, categories or {}) for view in plan.views]
        self.columns = tuple(column for view in self._views for column in view.columns)
        self.views = tuple(view.name for view in plan.views)
        subjects = [Subject(view.request_keys, tuple(view.rows.dtypes)) for view in self._views]
        # Views of one subject ask for the same entities.
        self._subjects = list(dict.fromkeys(subjects))
        self._asks = Subjects(self._subjects)
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
        found = [key for some in keys for key in some if key is not None]

        def hand_on(rows: Found) -> None:
            then(rows if isinstance(rows, StoreUnavailable) else JointRead(self._one, keys, rows))

        self._store.fetch(found, seconds, hand_on)

    def read_matrix(self, keys: Mapping[str, Sequence[object]], now_us: int) -> FeatureMatrix:
        """Read n entity rows as numbers; a feature that is none needs ``categories``."""
        question = self._question(keys)
        return matrix_of(self._views, question, self._store.read(question.keys), now_us)

    async def read_matrix_async(self, keys: Mapping[str, Sequence[object]], now_us: int) -> FeatureMatrix:
        """Do as :meth:`read_matrix` does, on an event loop."""
        question = self._question(keys)
        return matrix_of(self._views, question, await self._store.read_async(question.keys), now_us)

    def read(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read n entity rows as Python values, ttl measured at ``now_us``."""
        question = self._question(keys)
        return result_of(self._views, question, self._store.read(question.keys), now_us)

    async def read_async(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Do as :meth:`read` does, on an event loop."""
        question = self._question(keys)
        return result_of(self._views, question, await self._store.read_async(question.keys), now_us)

    def _keys(self, keys: Mapping[str, object]) -> list[bytes | None]:
        try:
            entities = [subject.entity(keys) for subject in self._subjects]
        except KeyError as error:
            raise BadKey(f"Key {error} is missing.") from error
        return [
            None if (entity := entities[at]) is None else row_key(view.prefix, entity)
            for view, at in zip(self._views, self._subject_of, strict=True)
        ]

    def _question(self, keys: Mapping[str, Sequence[object]]) -> Question:
        count = rows_asked(keys)
        subjects = self._asks.ask(keys, count)
        asked = [subjects[at] for at in self._subject_of]
        some = zip(self._views, asked, strict=True)
        return Question.of(count, asked, [view.rows.keys(each.entities) for view, each in some])

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
                states.append(Status.NOT_FOUND)
                continue
            read, event, created = view.rows.one(key, row)
            state = PRESENT
            if event > latest or created > latest:
                state = NOT_YET
            elif event < view.oldest(now_us):
                state = EXPIRED
            values += read if state == PRESENT else view.nothing
            events.append(event)
            times.append(created)
            states.append(STATUS[state])
        return OneRow(values, events, times, states)
