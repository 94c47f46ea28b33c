"""The row keys that a question of many entity rows needs: each entity encoded, and asked for, once.

Rows of a batch share entities: a thousand flights leave from three airports. What the views of one
subject ask for is found out once, and every distinct row is read, checked and decoded once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from knownat.errors import BadKey
from knownat.stores.row_keys import Entities, entity_bytes

_SHARED = 0.8  # Up to this share of distinct entities it pays to ask for each once.
_FEW = 8

Indices = npt.NDArray[np.intp]


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
    rows: Indices | None
    """The entity rows that have a key, where some have a null."""
    wants: Indices | None
    """Of each of them the place among the entities, where that is not its own."""

    @property
    def plain(self) -> bool:
        """Whether the entities are the rows, one for one."""
        return self.rows is None and self.wants is None


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


def ask(subject: Subject, keys: Mapping[str, Sequence[object]], count: int) -> Asked:
    """Encode the entities of one subject.

    Raises
    ------
    BadKey
        If a key is missing, or of another type than its view's.
    """
    try:
        columns = [keys[name] for name in subject.request_keys]
    except KeyError as error:
        raise BadKey(f"Key {error} is missing.") from error
    rows: Indices | None = None
    if any(None in column for column in columns):
        whole = [i for i, values in enumerate(zip(*columns, strict=True)) if None not in values]
        columns = [[column[i] for i in whole] for column in columns]
        count, rows = len(whole), np.array(whole, dtype=np.intp)
    if not columns:
        return Asked(Entities((), (), 1), 1, None, np.zeros(count, dtype=np.intp))
    if count > _FEW and (shared := _distinct(columns, count)) is not None:
        some, wants = shared
        return Asked(Entities(subject.dtypes, some, len(some[0])), len(some[0]), rows, wants)
    return Asked(Entities(subject.dtypes, columns, count), count, rows, None)


def _distinct(columns: list[Sequence[object]], count: int) -> tuple[list[Sequence[object]], Indices] | None:
    named = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    try:
        distinct = dict.fromkeys(named)
    except TypeError:
        return None  # What cannot be hashed is no key: it is refused where keys are encoded.
    if len(distinct) > _SHARED * count:
        return None
    # 1 and True are equal and yet not one key: a column of mixed types is left to be refused.
    mixed = any(len(set(map(type, column))) > 1 for column in columns)
    if mixed:
        return None
    places = {entity: place for place, entity in enumerate(distinct)}
    wants = np.fromiter(map(places.__getitem__, named), dtype=np.intp, count=count)
    if len(columns) == 1:
        return [list(distinct)], wants
    return [list(column) for column in zip(*distinct, strict=True)], wants


def flat(keys: Sequence[list[bytes]]) -> list[bytes]:
    """Return every view's row keys as one question to the store."""
    return list(chain.from_iterable(keys))
