"""Feast's question about one view, on packed rows: join keys to row keys, rows to Feast's values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from feast.protos.feast.types.Value_pb2 import Value

from knownat.contract.read_plan import Status
from knownat.errors import SchemaMismatch
from knownat.stores.codec import RowSchema
from knownat.stores.codec_read import record_times
from knownat.stores.feast_values import value_maker
from knownat.stores.row_keys import Entities, ViewName
from knownat.stores.rows import RowReads
from knownat.stores.view_rows import ViewRows

FOREVER = -(2**63)
"""The oldest event time of a view without a ttl."""

_WITHHELD = (Status.EXPIRED, Status.NOT_YET)
_EXPIRED, _NOT_YET = range(2)


@dataclass(frozen=True)
class Asked:
    """One view's question: each distinct row key once, and which of them every entity row wants."""

    keys: list[bytes]
    places: list[int]
    """Per entity row its place in ``keys``; one beyond the last for a null key."""


@dataclass(frozen=True)
class Answer:
    """What became of each distinct key, and behind the last the answer for a null key.

    The values of an expired row are null; its time is there.
    """

    columns: list[list[Value]]
    event_us: list[int | None]
    status: list[Status]


class ViewReader:
    """Reads some features of one view by Feast's entities.

    Raises
    ------
    SchemaMismatch
        If the view has no such feature.
    """

    def __init__(self, store: RowReads, name: ViewName, schema: RowSchema, features: Sequence[str]) -> None:
        fields = {field.name: field for field in schema.features}
        if unknown := [feature for feature in features if feature not in fields]:
            raise SchemaMismatch(f"{name}: there are no features {unknown}; it has {sorted(fields)}.")
        wanted = [fields[feature] for feature in features]
        keys = {field.name: field.dtype for field in schema.keys}
        self.keys = schema.keys
        self.features = tuple(features)
        self._rows = ViewRows(store, name, keys=keys, wanted=wanted)
        self._make = [value_maker(field.dtype) for field in wanted]

    def ask(self, columns: Sequence[Sequence[object]], count: int) -> Asked:
        """Return the row keys of ``count`` entities, given a column for each join key by name.

        Raises
        ------
        BadKey
            If a value is of another type than its key.
        """
        if count == 1:
            key = self._rows.key([column[0] for column in columns])
            return Asked([] if key is None else [key], [0])
        places = [True] * count
        for column in columns:
            if None in column:
                places = [here and value is not None for here, value in zip(places, column, strict=True)]
        if all(places):
            named = iter(Entities(self._rows.dtypes, columns, count).row_keys(self._rows.name.prefix))
        else:
            whole = [[v for v, here in zip(column, places, strict=True) if here] for column in columns]
            named = iter(Entities(self._rows.dtypes, whole, sum(places)).row_keys(self._rows.name.prefix))
        distinct: dict[bytes, int] = {}
        found = [distinct.setdefault(next(named), len(distinct)) if here else None for here in places]
        return Asked(list(distinct), [len(distinct) if place is None else place for place in found])

    def answer(
        self, keys: list[bytes], rows: Sequence[bytes | None], *, oldest_us: int, latest_us: int
    ) -> Answer:
        """Check and decode the rows of an :class:`Asked`, for one who knows what was known by ``latest_us``.

        Events older than ``oldest_us`` are expired.

        Raises
        ------
        CorruptRow, UnknownSchema, SchemaMismatch
            If a row is not what this view's reader can take; no value is made up.
        """
        nothing = len(keys) + 1
        answer = Answer(
            [[Value()] * nothing for _ in self.features], [None] * nothing, [Status.NOT_FOUND] * nothing
        )
        if len(keys) == 1:
            if rows[0] is not None:
                self._one(answer, keys[0], rows[0], oldest_us, latest_us)
            return answer
        for group in self._rows.groups(keys, rows):
            event, created = record_times(group.records)
            known = np.maximum(event, created) <= latest_us
            alive = (known & (event >= oldest_us)).tolist()
            states = np.where(known, _EXPIRED, _NOT_YET).tolist()
            places = group.positions
            decoded = group.decoder.columns(group.rows, group.records)
            for column, make, values in zip(answer.columns, self._make, decoded, strict=True):
                for place, lives, value in zip(places, alive, values, strict=True):
                    if lives:
                        column[place] = make(value)
            for place, lives, state, moment in zip(places, alive, states, event.tolist(), strict=True):
                answer.event_us[place] = moment
                answer.status[place] = Status.PRESENT if lives else _WITHHELD[state]
        return answer

    def _one(self, answer: Answer, key: bytes, row: bytes, oldest_us: int, latest_us: int) -> None:
        values, event, created = self._rows.one(key, row)
        answer.event_us[0] = event
        if event > latest_us or created > latest_us:
            answer.status[0] = Status.NOT_YET
            return
        if event < oldest_us:
            answer.status[0] = Status.EXPIRED
            return
        answer.status[0] = Status.PRESENT
        for column, make, value in zip(answer.columns, self._make, values, strict=True):
            column[0] = make(value)
