"""Examples prepared once for joins with many tables: entities as numbers, questions in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from knownat.errors import RepoError
from knownat.stores.tables import FeatureTable, exact_microseconds, key_type

Int64s = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

_CODE = "__code"
_SPARSE = 4
"""Integer keys are their own numbers if they leave out no more than three in four."""


@dataclass(frozen=True)
class Entities:
    """The distinct entities of the examples, numbered from 0.

    ``codes`` has the number of each example's entity, ``size + 1`` for a null key. A row of an
    entity that no example has is numbered ``size``. Both are matched by nothing.
    """

    codes: Numbers
    size: int
    first: int | None = None
    numbered: pl.DataFrame | None = None

    @classmethod
    def of(cls, keys: pl.DataFrame, rows: int) -> "Entities":
        """Number the entities of so many rows of keys; without keys all rows are of one entity."""
        if not keys.width:
            return cls(np.zeros(rows, dtype=np.int32), 1)
        if (compact := cls._compact(keys)) is not None:
            return compact
        keys = _anonymous(keys)
        numbered = (
            keys.drop_nulls().unique().with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias(_CODE))
        )
        return cls(_joined(keys, numbered, numbered.height + 1), numbered.height, numbered=numbered)

    @classmethod
    def _compact(cls, keys: pl.DataFrame) -> "Entities | None":
        only = keys.to_series(0)
        if keys.width > 1 or only.dtype != pl.Int64 or only.null_count() or only.is_empty():
            return None
        values = only.to_numpy()
        first, last = int(values.min()), int(values.max())
        if last - first >= _SPARSE * len(values) + 1_024:
            return None
        return cls((values - first).astype(np.int32), last - first + 1, first=first)

    def codes_of(self, keys: pl.DataFrame, rows: int) -> Numbers:
        """Number the entities of a table's rows; its keys are in the order of the examples'."""
        if self.first is not None:
            offsets = keys.to_series(0).to_numpy() - np.int64(self.first)
            # What lies below the first wraps round to the largest, and is cut to ``size`` as well.
            unsigned = offsets.view(np.uint64)
            return np.minimum(unsigned, np.uint64(self.size), out=unsigned).astype(np.int32)
        if self.numbered is None:
            return np.zeros(rows, dtype=np.int32)
        return _joined(_anonymous(keys), self.numbered, self.size)


@dataclass(frozen=True)
class Ordered:
    """The questions in order of entity and time: their places, entities and times in microseconds."""

    places: Numbers
    codes: Numbers
    known_us: Int64s


class Inquiry:
    """Examples to join with tables; what two joins have in common is computed once."""

    def __init__(self, examples: pl.DataFrame) -> None:
        self.examples = examples
        self._times: dict[str, Int64s] = {}
        self._entities: dict[tuple[object, ...], Entities] = {}
        self._ordered: dict[tuple[object, ...], Ordered] = {}

    def times(self, column: str) -> Int64s:
        """Return a column of times in exact microseconds.

        Raises
        ------
        RepoError
            If a time cannot be used exactly.
        """
        if column not in self._times:
            exact = exact_microseconds(self.examples[column], where=f"The examples' column '{column}'")
            self._times[column] = exact.to_numpy()
        return self._times[column]

    def entities(self, table: FeatureTable, keys: Mapping[str, str]) -> Entities:
        """Number the entities that a table is asked about.

        Raises
        ------
        RepoError
            If a key is of another type than the table's.
        """
        columns = self._key_columns(table, keys)
        name = _name(table, keys)
        if name not in self._entities:
            self._entities[name] = Entities.of(self.examples.select(columns), self.examples.height)
        return self._entities[name]

    def ordered(self, table: FeatureTable, keys: Mapping[str, str], known_at: str) -> Ordered:
        """Put the questions to a table in order."""
        name = (*_name(table, keys), None, known_at)
        if name not in self._ordered:
            codes, known = self.entities(table, keys).codes, self.times(known_at)
            places = order_of(codes, known)
            self._ordered[name] = Ordered(places, codes[places], known[places])
        return self._ordered[name]

    def _key_columns(self, table: FeatureTable, keys: Mapping[str, str]) -> list[pl.Expr]:
        stored_schema = table.rows.collect_schema()
        columns = []
        for name in table.keys:
            if name not in stored_schema:
                raise RepoError(
                    f"{table.name}: its table has no key '{name}'; it has {sorted(stored_schema)}."
                )
            stored = key_type(name, stored_schema[name], where=table.name)
            given = key_type(keys[name], self.examples.schema[keys[name]], where=f"{table.name}, examples")
            if given not in (stored, pl.Null()):
                raise RepoError(
                    f"{table.name}: key '{name}' is {stored} in the table, but '{keys[name]}' is {given} in "
                    "the examples. Cast the examples' column: a key is never converted in silence."
                )
            columns.append(pl.col(keys[name]).cast(stored).alias(name))
        return columns


def order_of(codes: Numbers, times: Int64s) -> Numbers:
    """Order rows by entity and time; equal ones in any order."""
    if not len(codes):
        return np.zeros(0, dtype=np.int32)
    first = int(times.min())
    bits = (int(times.max()) - first).bit_length()
    if bits + int(codes.max()).bit_length() > 63:
        return np.lexsort((times, codes)).astype(np.int32)
    packed = codes.astype(np.int64)
    packed <<= bits
    packed |= times - np.int64(first)
    if (packed[1:] >= packed[:-1]).all():
        return np.arange(len(codes), dtype=np.int32)
    return np.argsort(packed).astype(np.int32)


def _name(table: FeatureTable, keys: Mapping[str, str]) -> tuple[object, ...]:
    # The example's null columns take the table's type, so the same columns may differ between tables.
    schema = table.rows.collect_schema()
    return tuple((keys[name], str(key_type(name, schema[name], where=table.name))) for name in table.keys)


def _anonymous(keys: pl.DataFrame) -> pl.DataFrame:
    return keys.select(pl.col(name).alias(str(i)) for i, name in enumerate(keys.columns))


def _joined(keys: pl.DataFrame, numbered: pl.DataFrame, unknown: int) -> Numbers:
    on: Sequence[str] = keys.columns
    found = keys.join(numbered, on=on, how="left", maintain_order="left")[_CODE]
    return found.fill_null(unknown).to_numpy()
