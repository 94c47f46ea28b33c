"""The newest visible row of each entity of a table of any size, in batches that fit into memory.

A table of one batch is read at once. A larger one is read twice, a slice at a time: first only its
keys and times, to learn which rows lead, then the slices that hold them. What stays in memory is
one slice, and some forty bytes an entity.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from knownat.stores.asof import newest_visible
from knownat.stores.tables import CREATED_US, EVENT_US, FeatureTable, Window, read_rows, within

BATCH_VALUES = 16_000_000
"""How many values a batch holds; a slice of so many takes about half a gigabyte while it is read."""

_SLICE = "__slice"


@dataclass(frozen=True)
class NewestRows:
    """Rows of ``entities`` entities: keys, features, ``EVENT_US`` and ``CREATED_US``."""

    entities: int
    batches: Iterator[pl.DataFrame]


def newest_rows(
    table: FeatureTable, *, since_us: int | None, until_us: int, batch_values: int = BATCH_VALUES
) -> NewestRows:
    """Find the newest of the rows that became visible in (since, until], of every entity that has one.

    They are for a store in which the newest wins: what was visible before may outdo them, and rows
    of one entity and of equal times may come in several batches.

    Raises
    ------
    RepoError
        If a column is missing, or a time or key cannot be used exactly.
    """
    batch_rows = max(1, batch_values // (len(table.keys) + len(table.features) + 2))
    fresh = within(table, Window(since_us=since_us, until_us=until_us))
    rows = int(table.rows.select(pl.len()).collect().item())
    if rows <= batch_rows or int(fresh.rows.select(pl.len()).collect().item()) <= batch_rows:
        found = newest_visible(fresh, since_us=None, until_us=until_us)
        return NewestRows(found.height, iter([found]))
    # Slices of the table itself, which a file's row groups follow, and not of what was filtered.
    slices = [table.narrowed(table.rows.slice(at, batch_rows)) for at in range(0, rows, batch_rows)]
    window = Window(since_us=since_us, until_us=until_us)
    leaders = _leaders(slices, window)
    entities = leaders.select(table.keys).n_unique() if table.keys else min(leaders.height, 1)
    return NewestRows(entities, _batches(slices, leaders, window))


def _leaders(slices: list[FeatureTable], window: Window) -> pl.DataFrame:
    """Keys and times of the rows that no other row's times outdo, and the slice of each."""
    leaders: pl.DataFrame | None = None
    for number, part in enumerate(slices):
        keys = list(part.keys)
        found = read_rows(part, (), window).select(
            *keys, EVENT_US, CREATED_US, pl.lit(number, pl.UInt32).alias(_SLICE)
        )
        together = found if leaders is None else pl.concat([leaders, found])
        for time in (EVENT_US, CREATED_US):
            newest = pl.col(time).max()
            together = together.filter(pl.col(time) == (newest.over(keys) if keys else newest))
        leaders = together.unique()
    return pl.DataFrame() if leaders is None else leaders


def _batches(slices: list[FeatureTable], leaders: pl.DataFrame, window: Window) -> Iterator[pl.DataFrame]:
    for (number,), some in leaders.partition_by(_SLICE, as_dict=True).items():
        part = slices[number]
        rows = read_rows(part, part.features, window)
        yield rows.join(some, on=[*part.keys, EVENT_US, CREATED_US], how="semi", maintain_order="left")
