"""The unknown, rewritten: every event that became known after an instant, changed at random.

Two histories that agree on what was known by an instant cannot be told apart then. Whatever can
tell them apart has read the future.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

HORIZON = timedelta(days=14)
"""Events known later than this after the instant are all removed, which spares their rebuilding."""

_REMOVED_OF = 3  # one in three


@dataclass(frozen=True)
class Rewritten:
    """What was done to one event table: rows not known at the instant, of which removed and changed."""

    event: str
    unknown: int
    removed: int
    changed: int


def rewrite_unknown(
    connection: duckdb.DuckDBPyConnection,
    events: Sequence[str],
    *,
    at: datetime,
    identity: Collection[str],
    seed: int,
    horizon: timedelta = HORIZON,
) -> tuple[Rewritten, ...]:
    """Rewrite, the same way for the same seed, every row whose ``known_at`` is after an instant.

    A third of the rows goes, and all of those known after the horizon. What is left keeps its times and
    its ``identity`` columns, so that every join still finds its partner; all other values are dealt
    out anew among these rows, so that each is a value that can occur.
    """
    return tuple(
        _rewrite(connection, event, at=at, horizon=at + horizon, identity=identity, seed=seed)
        for event in events
    )


def _rewrite(
    connection: duckdb.DuckDBPyConnection,
    event: str,
    *,
    at: datetime,
    horizon: datetime,
    identity: Collection[str],
    seed: int,
) -> Rewritten:
    unknown = _count(connection, event, at)
    connection.execute(
        f'DELETE FROM "{event}" WHERE known_at > $at AND (known_at > $horizon '
        f"OR hash(rowid + $seed) % {_REMOVED_OF} = 0)",
        {"at": at, "horizon": horizon, "seed": seed},
    )
    left = _count(connection, event, at)
    measures = list(_measures(connection, event, identity))
    if measures:
        _deal_anew(connection, event, measures, at=at, seed=seed)
    return Rewritten(event, unknown, removed=unknown - left, changed=left if measures else 0)


def _count(connection: duckdb.DuckDBPyConnection, event: str, at: datetime) -> int:
    (count,) = _one(connection, f'SELECT count(*) FROM "{event}" WHERE known_at > $at', {"at": at})
    return int(str(count))


def _one(connection: duckdb.DuckDBPyConnection, query: str, values: dict[str, object]) -> Sequence[object]:
    found = connection.execute(query, values).fetchone()
    return found or ()


def _measures(connection: duckdb.DuckDBPyConnection, event: str, identity: Collection[str]) -> Iterator[str]:
    for name, kind, *_ in connection.execute(f'DESCRIBE "{event}"').fetchall():
        if name not in identity and not str(kind).startswith(("TIMESTAMP", "DATE", "TIME")):
            yield str(name)


def _deal_anew(
    connection: duckdb.DuckDBPyConnection, event: str, measures: Sequence[str], *, at: datetime, seed: int
) -> None:
    names = ", ".join(f'"{name}"' for name in measures)
    changes = ", ".join(f'"{name}" = dealt."{name}"' for name in measures)
    connection.execute(
        f"""
        WITH places AS (
            SELECT rowid AS place, row_number() OVER (ORDER BY rowid) AS turn
            FROM "{event}" WHERE known_at > $at
        ),
        values_ AS (
            SELECT {names}, row_number() OVER (ORDER BY hash(rowid * 31 + $seed), rowid) AS turn
            FROM "{event}" WHERE known_at > $at
        ),
        dealt AS (SELECT * FROM places JOIN values_ USING (turn))
        UPDATE "{event}" SET {changes} FROM dealt WHERE "{event}".rowid = dealt.place
        """,
        {"at": at, "seed": seed},
    )
