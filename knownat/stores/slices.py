"""Slices of visible time, none with more rows than may be in memory at once."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from knownat.stores.tables import FeatureTable, Window, visible_us, within

_BUCKETS = 1_024


@dataclass(frozen=True)
class Slice:
    """A window of visible time, (since, until], and about how many rows became visible in it."""

    since_us: int
    until_us: int
    rows: int


def time_slices(table: FeatureTable, window: Window, *, most_rows: int) -> list[Slice]:
    """Cut a window where rows became visible; oldest first, without those that have none.

    A slice has more than ``most_rows`` rows only if they all became visible at one instant.
    """
    visible = visible_us(table, created_cutoff=window.created_cutoff)
    ends = within(table, window).rows.select(
        visible.min().alias("first"), visible.max().alias("last"), pl.len().alias("rows")
    )
    first, last, rows = ends.collect(engine="streaming").row(0)
    if not rows or first is None:
        return []
    return list(_merged(_cut(table, window, Slice(first - 1, last, rows), most_rows), most_rows))


def _cut(table: FeatureTable, window: Window, whole: Slice, most_rows: int) -> Iterator[Slice]:
    if whole.rows <= most_rows or whole.until_us - whole.since_us == 1:
        yield whole
        return
    width = -(-(whole.until_us - whole.since_us) // _BUCKETS)
    inside = within(table, replace(window, since_us=whole.since_us, until_us=whole.until_us))
    visible = visible_us(table, created_cutoff=window.created_cutoff)
    number = ((visible - (whole.since_us + 1)) // width).alias("number")
    counted = inside.rows.select(number).drop_nulls().group_by("number").len().collect(engine="streaming")
    for at, rows in counted.sort("number").iter_rows():
        since = whole.since_us + at * width
        yield from _cut(table, window, Slice(since, min(since + width, whole.until_us), rows), most_rows)


def _merged(slices: Iterator[Slice], most_rows: int) -> Iterator[Slice]:
    before: Slice | None = None
    for one in slices:
        if before is not None and before.rows + one.rows <= most_rows:
            before = Slice(before.since_us, one.until_us, before.rows + one.rows)
            continue
        if before is not None:
            yield before
        before = one
    if before is not None:
        yield before
