"""The as-of join: no value is used before it was known.

A row is visible from ``max(event, created)``. Among the rows of a key that are visible at a time,
the newest event wins, then the newest created, then the greatest packed payload
(``knownat.stores.ties``). ``knownat.stores.timeline`` says how that needs no inequality join.

A table is read twice: its keys and times first, then, for the rows that were found, the columns that
were asked for, a few at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from knownat.errors import RepoError, RowsNotConserved
from knownat.stores.inquiry import Entities, Inquiry, Int64s, Numbers, Ordered
from knownat.stores.picking import Picked
from knownat.stores.tables import (
    CREATED_US,
    EVENT_US,
    POSITION,
    VISIBLE_US,
    FeatureTable,
    Window,
    check_columns,
    read_times,
)
from knownat.stores.ties import are_winners
from knownat.stores.timeline import Flags, Groups, Leading, Settle, Times, leading_rows

Positions = npt.NDArray[np.int32] | npt.NDArray[np.int64]

_READ_VALUES = 1 << 20
"""How many values of a table are in memory at once while those that were found are picked."""


@dataclass(frozen=True)
class AsOf:
    """What a join found for each example, in the examples' order.

    ``values`` is null where nothing was visible or the row had outlived its ttl; of an expired
    row the times still tell which one it was, if expired rows were asked for.
    """

    values: pl.DataFrame
    event_us: pl.Series
    created_us: pl.Series
    expired: pl.Series


@dataclass(frozen=True)
class FoundRows:
    """The row found for each example, by its position in the table, or -1."""

    table: FeatureTable
    positions: Positions

    def values(self, features: Sequence[str]) -> pl.DataFrame:
        """Read columns of the rows that were found, in the examples' order.

        Raises
        ------
        RepoError
            If the table was rewritten since the rows were found.
        """
        return pl.DataFrame(list(self.columns(features)))

    def columns(self, features: Sequence[str]) -> Iterator[pl.Series]:
        """Read the columns one after the other. Raises the same as :meth:`values`."""
        return read_columns(self.table, features, self.positions)


def join_as_of(
    examples: pl.DataFrame | Inquiry,
    table: FeatureTable,
    *,
    features: Sequence[str],
    keys: Mapping[str, str],
    event_timestamp: str,
    known_at: str | None = None,
    ttl_us: int = 0,
    created_cutoff: bool = True,
    find_expired: bool = False,
) -> AsOf:
    """Find each example's newest visible row.

    Parameters
    ----------
    examples
        The examples; as an ``Inquiry`` if several tables are joined with them.
    keys
        The table's keys and the examples' columns that hold them.
    event_timestamp
        The column with the time of the question; the ttl is measured here.
    known_at
        The column with the time by which a row must be visible, if that is another.
    ttl_us
        A row is null once its event is older than this; 0 keeps it for ever.
    created_cutoff
        Off, a row counts as visible from its event: Feast's default.
    find_expired
        Report the rows that have outlived their ttl instead of leaving them unread.

    Raises
    ------
    RepoError
        If a key is of another type than the table's, or a time cannot be used exactly.
    RowsNotConserved
        If the join would return other rows than it was given.
    """
    question = _Question(
        inquiry=examples if isinstance(examples, Inquiry) else Inquiry(examples),
        keys=keys,
        event_timestamp=event_timestamp,
        known_at=known_at or event_timestamp,
        ttl_us=ttl_us,
        created_cutoff=created_cutoff,
        find_expired=find_expired,
    )
    rows, found = question.find(table)
    picked = Picked.of(np.maximum(found.rows, 0), found.rows >= 0)
    event_us, created_us = (picked.of_column(rows[name]) for name in (EVENT_US, CREATED_US))
    expired = np.zeros(len(found.rows), dtype=np.bool_) if found.expired is None else found.expired
    values = FoundRows(table, _positions(rows, found)).values(features)
    return AsOf(values, event_us, created_us, pl.Series(expired))


def find_as_of(
    examples: Inquiry,
    table: FeatureTable,
    *,
    keys: Mapping[str, str],
    event_timestamp: str,
    ttl_us: int = 0,
    created_cutoff: bool = True,
) -> FoundRows:
    """Find each example's newest visible row as :func:`join_as_of` does, its columns yet to be read."""
    question = _Question(
        inquiry=examples,
        keys=keys,
        event_timestamp=event_timestamp,
        known_at=event_timestamp,
        ttl_us=ttl_us,
        created_cutoff=created_cutoff,
        find_expired=False,
    )
    return FoundRows(table, _positions(*question.find(table)))


@dataclass(frozen=True, kw_only=True)
class _Question:
    inquiry: Inquiry
    keys: Mapping[str, str]
    event_timestamp: str
    known_at: str
    ttl_us: int
    created_cutoff: bool
    find_expired: bool

    def find(self, table: FeatureTable) -> tuple[pl.DataFrame, Leading]:
        self._check_columns(table)
        entities = self.inquiry.entities(table, self.keys)
        ordered = self.inquiry.ordered(table, self.keys, self.known_at)
        asked_us = self.inquiry.times(self.event_timestamp)
        rows = read_times(table, self._window(asked_us))
        found = leading_rows(
            ordered,
            _times(rows, entities.codes_of(rows.select(table.keys), rows.height), cutoff=self.created_cutoff),
            entities=entities.size,
            oldest_us=self._oldest(ordered, asked_us) if self.ttl_us else None,
            find_expired=self.find_expired,
            settle=_settle(table, rows),
        )
        if len(found.rows) != self.inquiry.examples.height:
            raise RowsNotConserved(
                f"{table.name}: {self.inquiry.examples.height} examples in, {len(found.rows)} rows out."
            )
        return rows, found

    def _oldest(self, ordered: Ordered, asked_us: Int64s) -> Int64s:
        in_order = self.known_at == self.event_timestamp
        return (ordered.known_us if in_order else asked_us[ordered.places]) - self.ttl_us

    def _window(self, asked_us: Int64s) -> Window:
        known_us = self.inquiry.times(self.known_at)
        prune = bool(self.ttl_us) and not self.find_expired and len(asked_us)
        return Window(
            until_us=int(known_us.max()) if len(known_us) else None,
            event_from_us=int(asked_us.min()) - self.ttl_us if prune else None,
            created_cutoff=self.created_cutoff,
        )

    def _check_columns(self, table: FeatureTable) -> None:
        needed = [self.event_timestamp, self.known_at, *(self.keys[name] for name in table.keys)]
        have = self.inquiry.examples.columns
        if missing := [name for name in needed if name not in have]:
            raise RepoError(f"{table.name}: the examples have no column {missing}; they have {have}.")


def newest_visible(table: FeatureTable, *, since_us: int | None, until_us: int) -> pl.DataFrame:
    """Find the newest row visible by ``until`` of every key with a row that became so after ``since``.

    A key is found whatever the row's event time, so a late correction is not missed; what is
    returned may be older than the row that became visible, if a newer event was known before.
    Columns are keys, features, ``EVENT_US``, ``CREATED_US`` and ``VISIBLE_US``, one row a key.
    """
    found = _newest(read_times(table, Window(since_us=since_us, until_us=until_us)), table)
    if since_us is not None and not found.is_empty():
        # Only a row of the same or a newer event can outdo a fresh one, so in a table without late
        # rows this second read finds every row group pruned.
        earliest = found[EVENT_US].min()
        window = Window(until_us=since_us, event_from_us=earliest if isinstance(earliest, int) else None)
        before = read_times(table, window, only=found)
        if not before.is_empty():
            found = _newest(pl.concat([before, found]), table)
    visible = pl.max_horizontal(EVENT_US, CREATED_US).alias(VISIBLE_US)
    features = read_columns(table, table.features, found[POSITION].to_numpy().astype(np.int64))
    return found.with_columns(*features, visible).select(
        *table.keys, *table.features, EVENT_US, CREATED_US, VISIBLE_US
    )


def read_columns(table: FeatureTable, names: Sequence[str], positions: Positions) -> Iterator[pl.Series]:
    """Read rows of a table by position, null for -1, a few columns at a time."""
    check_columns(table, names)
    found = positions >= 0
    low, high = (int(positions[found].min()), int(positions.max()) + 1) if found.any() else (0, 0)
    rows = table.rows.slice(low, high - low)
    picked = Picked.of(np.maximum(positions - low, 0), found)
    at_once = max(1, _READ_VALUES // max(1, high - low))
    for start in range(0, len(names), at_once):
        columns = rows.select(names[start : start + at_once]).collect()
        if table.unchanged is not None and not table.unchanged():
            raise RepoError(
                f"{table.name}: its table was rewritten while it was read. Ask again; a table that is "
                "written often is better a folder, to which files are added."
            )
        for name in columns.columns:
            yield picked.of_column(columns[name])


def _newest(rows: pl.DataFrame, table: FeatureTable) -> pl.DataFrame:
    """Keep the newest row of each entity, as if each were asked for after all of them."""
    if rows.is_empty():
        return rows
    entities = Entities.of(rows.select(table.keys), rows.height)
    times = _times(rows, entities.codes, cutoff=False)
    everyone = np.arange(entities.size, dtype=np.int32)
    at_the_end = np.full(entities.size, times.event_us.max())
    found = leading_rows(
        Ordered(everyone, everyone, at_the_end), times, entities=entities.size, settle=_settle(table, rows)
    )
    return rows[np.sort(found.rows[found.rows >= 0])]


def _times(rows: pl.DataFrame, codes: Numbers, *, cutoff: bool) -> Times:
    return Times(codes, rows[EVENT_US].to_numpy(), rows[CREATED_US].to_numpy(), cutoff)


def _settle(table: FeatureTable, rows: pl.DataFrame) -> Settle:
    def settle(tied: Numbers, groups: Groups) -> Flags:
        positions = rows[POSITION].gather(tied).to_numpy().astype(np.int64)
        return are_winners(groups, pl.DataFrame(list(read_columns(table, table.features, positions))), table)

    return settle


def _positions(rows: pl.DataFrame, found: Leading) -> Positions:
    """Positions in the table; none for a row that has outlived its ttl."""
    numbers = found.rows if found.expired is None else np.where(found.expired, np.int32(-1), found.rows)
    if rows.is_empty():
        return numbers
    numbered = rows[POSITION].to_numpy()
    first, last = int(numbered[0]), int(numbered[-1])
    narrow = last <= np.iinfo(np.int32).max
    positions: Positions = numbered.view(np.int32) if narrow else numbered.astype(np.int64)
    if last - first == len(positions) - 1 and not first:
        return numbers
    taken = positions.take(numbers, mode="clip")
    taken[numbers < 0] = -1
    return taken
