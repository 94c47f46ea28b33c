"""The as-of join: no value is used before it was known.

A row is visible from ``max(event, created)``. Among the rows of a key that are visible at a time,
the newest event wins, then the newest created, then the greatest packed payload
(``knownat.stores.ties``).

Two conditions need no inequality join. Walk a key's rows in order of visibility and keep a row
only if its (event, created) is not below any before it: what is kept grows in both orders at
once, so a plain as-of join on visibility finds the newest. In the order (visible, event,
created), rows of equal event already are in order of created, so the walk compares events only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from knownat.errors import RepoError, RowsNotConserved
from knownat.stores.tables import (
    CREATED_US,
    EVENT_US,
    VISIBLE_US,
    FeatureTable,
    Window,
    exact_microseconds,
    key_type,
    read_rows,
)
from knownat.stores.ties import are_winners

_ROW, _PLACE, _ASKED, _KNOWN = "__row", "__place", "__asked_us", "__known_us"


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


def join_as_of(
    examples: pl.DataFrame,
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
    asked = _asked(examples, table, keys, event_timestamp, known_at or event_timestamp)
    prune = bool(ttl_us) and not find_expired
    window = Window(
        until_us=_integer(asked[_KNOWN].max()),
        event_from_us=_integer(asked[_ASKED].min(), minus=ttl_us) if prune else None,
        created_cutoff=created_cutoff,
    )
    history = read_rows(table, features, window)
    order = _drop_lost_ties(_in_order_of_visibility(history, table.keys), history, table, window)
    rows = _match(asked, _walk(order, table.keys), table)
    times = history.select(pl.col(EVENT_US, CREATED_US).gather(rows))
    oldest = asked[_ASKED] - ttl_us
    expired = (times[EVENT_US] < oldest).fill_null(value=False) & bool(ttl_us)
    values = history.select(pl.col(list(features)).gather(rows.set(expired, None)))
    return AsOf(values, times[EVENT_US], times[CREATED_US], expired)


def newest_visible(table: FeatureTable, *, since_us: int | None, until_us: int) -> pl.DataFrame:
    """Find the newest row visible by ``until`` of every key with a row that became so after ``since``.

    A key is found whatever the row's event time, so a late correction is not missed; what is
    returned may be older than the row that became visible, if a newer event was known before.
    Columns are keys, features, ``EVENT_US``, ``CREATED_US`` and ``VISIBLE_US``, one row a key.
    """
    window = Window(since_us=since_us, until_us=until_us)
    fresh = _newest(read_rows(table, table.features, window), table)
    if since_us is None or fresh.is_empty():
        return fresh
    # Only a row of the same or a newer event can outdo a fresh one, so in a table without late
    # rows this second read finds every row group pruned.
    earlier = Window(until_us=since_us, event_from_us=_integer(fresh[EVENT_US].min()))
    before = read_rows(table, table.features, earlier, only=fresh)
    return fresh if before.is_empty() else _newest(pl.concat([before, fresh]), table)


def _integer(value: object, *, minus: int = 0) -> int | None:
    return value - minus if isinstance(value, int) else None


def _asked(
    examples: pl.DataFrame, table: FeatureTable, keys: Mapping[str, str], event: str, known: str
) -> pl.DataFrame:
    needed = [event, known, *(keys[name] for name in table.keys)]
    if missing := [name for name in needed if name not in examples.columns]:
        raise RepoError(f"{table.name}: the examples have no column {missing}; they have {examples.columns}.")
    times = [
        exact_microseconds(examples[event], where=f"The examples' column '{event}'").alias(_ASKED),
        exact_microseconds(examples[known], where=f"The examples' column '{known}'").alias(_KNOWN),
    ]
    return examples.select(*_key_columns(examples, table, keys), *times)


def _key_columns(examples: pl.DataFrame, table: FeatureTable, keys: Mapping[str, str]) -> list[pl.Expr]:
    stored_schema = table.rows.collect_schema()
    columns = []
    for name in table.keys:
        if name not in stored_schema:
            raise RepoError(f"{table.name}: its table has no key '{name}'; it has {sorted(stored_schema)}.")
        stored = key_type(name, stored_schema[name], where=table.name)
        given = key_type(keys[name], examples.schema[keys[name]], where=f"{table.name}, examples")
        if given not in (stored, pl.Null()):
            raise RepoError(
                f"{table.name}: key '{name}' is {stored} in the table, but '{keys[name]}' is {given} in the "
                "examples. Cast the examples' column: a key is never converted in silence."
            )
        columns.append(pl.col(keys[name]).cast(stored).alias(name))
    return columns


def _in_order_of_visibility(history: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    order = history.select(*keys, VISIBLE_US, EVENT_US, CREATED_US).with_row_index(_ROW)
    # A table written in the order its rows became known needs no sort.
    rises = pl.lit(value=True)
    for name in (CREATED_US, EVENT_US, VISIBLE_US):
        step = pl.col(name).diff().fill_null(0)
        rises = (step > 0) | ((step == 0) & rises)
    return order if order.select(rises.all()).item() else order.sort(VISIBLE_US, EVENT_US, CREATED_US)


def _walk(order: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    event = pl.col(EVENT_US)
    if order[EVENT_US].is_sorted():
        return order
    return order.filter(event >= (event.cum_max().over(keys) if keys else event.cum_max()))


def _drop_lost_ties(
    order: pl.DataFrame, history: pl.DataFrame, table: FeatureTable, window: Window
) -> pl.DataFrame:
    """Keep one row of each key and pair of times; ``order`` has equal times side by side."""
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in (EVENT_US, CREATED_US))
    beside = same.fill_null(value=False)
    near = order.filter(beside | beside.shift(-1).fill_null(value=False))
    of = [*table.keys, EVENT_US, CREATED_US]
    tied = near.filter(pl.struct(of).is_duplicated())
    if tied.is_empty():
        return order
    if any(name not in history.columns for name in table.features):
        history = read_rows(table, table.features, window)
    groups = tied.select(pl.struct(of).rank("dense")).to_series().to_numpy()
    wins = are_winners(groups, history.select(pl.col(table.features).gather(tied[_ROW])), table)
    losers = tied.filter(pl.Series(~wins))
    return order.join(losers, on=_ROW, how="anti", maintain_order="left")


def _match(asked: pl.DataFrame, order: pl.DataFrame, table: FeatureTable) -> pl.Series:
    """Position in the history of each example's row, null for none, in the examples' order."""
    keys = list(table.keys)
    questions = asked.select(*keys, _KNOWN).with_row_index(_PLACE)
    entities = questions.drop_nulls(keys) if keys else questions
    found = entities.sort(_KNOWN).join_asof(
        order.select(*keys, VISIBLE_US, _ROW),
        left_on=_KNOWN,
        right_on=VISIBLE_US,
        by=keys or None,
        # Both sides are sorted above; Polars cannot check it within groups and would warn.
        check_sortedness=False,
    )
    rows = questions.select(_PLACE).join(
        found.select(_PLACE, _ROW), on=_PLACE, how="left", maintain_order="left"
    )
    if not rows[_PLACE].equals(questions[_PLACE]):
        raise RowsNotConserved(f"{table.name}: {asked.height} examples in, {rows.height} rows out.")
    return rows[_ROW]


def _newest(rows: pl.DataFrame, table: FeatureTable) -> pl.DataFrame:
    order = rows.select(*table.keys, VISIBLE_US, EVENT_US, CREATED_US).with_row_index(_ROW)
    order = _drop_lost_ties(order.sort(EVENT_US, CREATED_US), rows, table, Window())
    last = order.unique(list(table.keys), keep="last", maintain_order=True) if table.keys else order.tail(1)
    return rows[last[_ROW].sort()]
