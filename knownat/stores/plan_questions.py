"""The row keys that a question of many entity rows needs: each entity encoded, and asked for, once.

Rows of a batch share entities: a thousand flights leave from three airports. Each column of keys is
looked through once for all the views that need it, what the views of one subject ask for is found out
once, and every distinct row is read, checked and decoded once.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from itertools import count as count_up

import numpy as np

from knownat.errors import BadKey
from knownat.stores.key_columns import NOTHING, Indices, KeyColumn, entities_of
from knownat.stores.row_keys import Entities, entity_bytes

# So few rows are encoded one by one in less time than it takes to find out which are alike.
_FEW = 4
# With so many values of one key it does not pay to look for entities that are alike.
_MOSTLY = 0.7
# Up to so many possible codes a row are looked up in a table.
_TABLED = 8
_MOST_CODES = 2**62


@dataclass(frozen=True)
class Subject:
    """The request keys that name an entity, in the order of its join keys, and their types."""

    request_keys: tuple[str, ...]
    dtypes: tuple[str, ...]

    def entity(self, keys: Mapping[str, object]) -> bytes | None:
        """Encode the entity of one row; None if a key of it is null.

        Raises
        ------
        KeyError
            If a key is missing.
        BadKey
            If one is of another type than its view's.
        """
        values = [keys[name] for name in self.request_keys]
        return None if None in values else entity_bytes(self.dtypes, values)


@dataclass(frozen=True)
class Asked:
    """The distinct entities of a question, and which of them each entity row wants."""

    entities: Entities
    count: int
    wants: Indices | None
    """Of each entity row the place among the entities, or ``NOTHING``; None where that is its own."""
    whole: bool
    """Whether every entity row has a key."""


@dataclass(frozen=True)
class Question:
    """What each view is asked for, in the views' order, and all of its row keys behind one another."""

    count: int
    asked: list[Asked]
    keys: list[bytes]
    ends: list[int]
    """Where among the keys each view's begin, and where the last one's end."""

    @classmethod
    def of(cls, count: int, asked: list[Asked], keys: Iterable[list[bytes]]) -> "Question":
        """Put the views' row keys behind one another."""
        ends = list(accumulate((some.count for some in asked), initial=0))
        return cls(count, asked, list(chain.from_iterable(keys)), ends)

    @property
    def picks(self) -> Indices:
        """Return for each view and entity row which key it wants; the place behind the last for no key."""
        own = np.arange(self.count)
        wants = np.array([own if asked.wants is None else asked.wants for asked in self.asked], dtype=np.intp)
        picks = wants.reshape(len(self.asked), self.count) + np.array(self.ends[:-1], dtype=np.intp)[:, None]
        if not all(asked.whole for asked in self.asked):
            picks[wants == NOTHING] = self.ends[-1]
        return picks


def rows_asked(keys: Mapping[str, Sequence[object]]) -> int:
    """Return how many entity rows a question has; one without keys has one.

    Raises
    ------
    BadKey
        If its columns are of unequal length.
    """
    lengths = {len(column) for column in keys.values()} or {1}
    if len(lengths) > 1:
        raise BadKey("Every key must have the same number of rows.")
    return lengths.pop()


class Subjects:
    """The subjects of a plan, and the columns of keys that they need together."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects = tuple(subjects)
        named = [tuple(zip(s.request_keys, s.dtypes, strict=True)) for s in subjects]
        self._columns = tuple(dict.fromkeys(chain.from_iterable(named)))
        self._places = [tuple(map(self._columns.index, pairs)) for pairs in named]

    def ask(self, keys: Mapping[str, Sequence[object]], count: int) -> list[Asked]:
        """Encode the entities of every subject.

        Raises
        ------
        BadKey
            If a key is missing, or of another type than its view's.
        """
        try:
            if count <= _FEW:
                return [_few(s, [keys[name] for name in s.request_keys], count) for s in self._subjects]
            columns = [KeyColumn(dtype, keys[name]) for name, dtype in self._columns]
        except KeyError as error:
            raise BadKey(f"Key {error} is missing.") from error
        return [_many([columns[place] for place in places], count) for places in self._places]


def _few(subject: Subject, columns: list[Sequence[object]], count: int) -> Asked:
    if not columns:
        return _the_only(count)
    if not any(None in column for column in columns):
        return Asked(Entities(subject.dtypes, columns, count), count, None, whole=True)
    rows = list(zip(*columns, strict=True))
    whole = [row for row in rows if None not in row]
    places = np.array([NOTHING if None in row else whole.index(row) for row in rows], dtype=np.intp)
    wanted = list(zip(*whole, strict=True)) or [()] * len(columns)
    return Asked(Entities(subject.dtypes, wanted, len(whole)), len(whole), places, whole=False)


def _many(columns: list[KeyColumn], count: int) -> Asked:
    if not columns:
        return _the_only(count)
    if len(columns) == 1:
        (column,) = columns
        wants = None if column.own else column.codes
        return Asked(column.entities, column.distinct, wants, column.whole)
    if all(column.whole for column in columns):
        codes = [column.codes for column in columns]
        if max(column.distinct for column in columns) > _MOSTLY * count:
            return Asked(entities_of(columns, codes), count, None, whole=True)
        some, wants = _alike(columns, codes)
        return Asked(entities_of(columns, some), len(some[0]), wants, whole=True)
    rows = np.flatnonzero(np.logical_and.reduce([column.codes != NOTHING for column in columns]))
    wants = np.full(count, NOTHING, dtype=np.intp)
    some, wants[rows] = _alike(columns, [column.codes[rows] for column in columns])
    return Asked(entities_of(columns, some), len(some[0]), wants, whole=False)


def _alike(columns: Sequence[KeyColumn], codes: Sequence[Indices]) -> tuple[list[Indices], Indices]:
    """Return of each column the codes of every combination once, and of each row which it has."""
    if math.prod(column.distinct for column in columns) > _MOST_CODES:
        _, first, wants = np.unique(np.stack(codes, axis=1), axis=0, return_index=True, return_inverse=True)
        return [some[first] for some in codes], wants
    together, different = codes[0], columns[0].distinct
    for column, some in zip(columns[1:], codes[1:], strict=True):
        together = together * column.distinct + some
        different *= column.distinct
    found, wants = (_tabled if different <= _TABLED * len(together) else _hashed)(together, different)
    parts: list[Indices] = []
    for column in reversed(columns[1:]):
        found, part = np.divmod(found, column.distinct)
        parts.append(part)
    return [found, *reversed(parts)], wants


def _tabled(codes: Indices, different: int) -> tuple[Indices, Indices]:
    """Return the codes that occur, and of each code which of them it is."""
    places = np.zeros(different, dtype=np.intp)
    places[codes] = 1
    found = np.flatnonzero(places)
    places[found] = np.arange(len(found))
    return found, places[codes]


def _hashed(codes: Indices, _different: int) -> tuple[Indices, Indices]:
    """Do the same where there could be many more codes than there are."""
    places: defaultdict[int, int] = defaultdict(count_up().__next__)
    wants = np.fromiter(map(places.__getitem__, codes.tolist()), dtype=np.intp, count=len(codes))
    return np.array(list(places), dtype=np.intp), wants


def _the_only(count: int) -> Asked:
    return Asked(Entities.of([b""]), 1, np.zeros(count, dtype=np.intp), whole=True)
