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
import polars as pl

from knownat.stores.inquiry import Entities, Inquiry
from knownat.stores.picking import MOST_ROWS, Positions, read_columns
from knownat.stores.search import Search
from knownat.stores.tables import (
    CREATED_US,
    EVENT_US,
    POSITION,
    VISIBLE_US,
    FeatureTable,
    Window,
    read_times,
)
from knownat.stores.time_rows import TimeRows


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
    """The row found for each example, by its position in the table, or -1; its columns yet to be read."""

    table: FeatureTable
    positions: Positions
    most_rows: int = MOST_ROWS

    def columns(self, features: Sequence[str]) -> Iterator[pl.Series]:
        """Read columns of the rows, in the examples' order, one after the other.

        Raises
        ------
        RepoError
            If the table lacks a column, or was rewritten since the rows were found.
        """
        return read_columns(self.table, features, self.positions, most_rows=self.most_rows)


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
    most_rows: int = MOST_ROWS,
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
    most_rows
        How many rows of the table may be in memory at once, about a hundred bytes each.

    Raises
    ------
    RepoError
        If a key is of another type than the table's, or a time cannot be used exactly.
    RowsNotConserved
        If the join would return other rows than it was given.
    """
    found = Search(
        inquiry=examples if isinstance(examples, Inquiry) else Inquiry(examples),
        keys=keys,
        event_timestamp=event_timestamp,
        known_at=known_at or event_timestamp,
        ttl_us=ttl_us,
        created_cutoff=created_cutoff,
        find_expired=find_expired,
        with_times=True,
        most_rows=most_rows,
    ).find(table)
    expired = np.zeros(len(found.positions), np.bool_) if found.expired is None else found.expired
    none = pl.Series((found.positions < 0) & ~expired)
    values = FoundRows(table, found.positions, most_rows).columns(features)
    return AsOf(
        values=pl.DataFrame(list(values)),
        event_us=pl.Series(found.event_us).set(none, None),
        created_us=pl.Series(found.created_us).set(none, None),
        expired=pl.Series(expired),
    )


def find_as_of(
    examples: Inquiry,
    table: FeatureTable,
    *,
    keys: Mapping[str, str],
    event_timestamp: str,
    ttl_us: int = 0,
    created_cutoff: bool = True,
    most_rows: int = MOST_ROWS,
) -> FoundRows:
    """Find each example's newest visible row as :func:`join_as_of` does, its columns yet to be read.

    Raises the same.
    """
    found = Search(
        inquiry=examples,
        keys=keys,
        event_timestamp=event_timestamp,
        known_at=event_timestamp,
        ttl_us=ttl_us,
        created_cutoff=created_cutoff,
        most_rows=most_rows,
    ).find(table)
    return FoundRows(table, found.positions, most_rows)


def newest_visible(table: FeatureTable, *, since_us: int | None, until_us: int) -> pl.DataFrame:
    """Find the newest row visible by ``until`` of every key with a row that became so after ``since``.

    A key is found whatever the row's event time, so a late correction is not missed; what is
    returned may be older than the row that became visible, if a newer event was known before.
    Columns are keys, features, ``EVENT_US``, ``CREATED_US`` and ``VISIBLE_US``, one row a key.
    """
    table = table.numbered()
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


def _newest(frame: pl.DataFrame, table: FeatureTable) -> pl.DataFrame:
    """Keep the newest row of each entity, in the table's order."""
    entities = Entities.of(frame.select(table.keys), frame.height)
    rows = TimeRows.of(frame, table, entities.codes, created_cutoff=False)
    return frame[np.sort(rows.newest_numbers(entities.size))]
