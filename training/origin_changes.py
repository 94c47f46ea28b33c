"""What became of what a release was made from: which definitions, and which rows, are others now."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from training.origins import EventRows, Origins
from training.row_hashes import hash_rows
from training.sketch import compare

_SHOWN = 5

Kept = Mapping[str, EventRows]


def changed_definitions(then: Origins, now: Origins) -> Iterator[str]:
    """Name the definitions that are new, gone or edited."""
    for name in sorted(then.definitions.keys() | now.definitions.keys()):
        was, is_now = then.definitions.get(name), now.definitions.get(name)
        if was != is_now:
            how = "is new" if was is None else "is gone" if is_now is None else "was edited"
            yield f"definition '{name}' {how}"


def changed_rows(
    kind: str, then: Kept, now: Kept, read: Callable[[], Mapping[str, pa.Table]]
) -> Iterator[str]:
    """Name what became of the events, or of the tables, that were known by the cutoff.

    ``read`` gives their rows as they are now; it is asked only if some changed.
    """
    unread = read() if _known(then) != _known(now) else {}
    for name in sorted(then.keys() | now.keys()):
        if name not in then or name not in now:
            yield f"{kind} '{name}' {'is new' if name in now else 'is gone'}"
        elif then[name].known != now[name].known:
            yield from _changes(f"{kind} '{name}'", unread[name], then[name], now[name])


def _changes(title: str, events: pa.Table, then: EventRows, now: EventRows) -> Iterator[str]:
    difference = compare(then.known.read(), now.known.read())
    if not difference.complete:
        yield f"{title}: more rows known by the cutoff changed than can be named"
        return
    hashes = hash_rows(events)
    places = np.flatnonzero(np.isin(hashes, np.array(sorted(difference.added), dtype=np.uint64)))
    yield (
        f"{title}: of the rows known by the cutoff, {len(difference.removed):,} are gone or changed "
        f"and {len(difference.added):,} are others"
    )
    for place in places[:_SHOWN]:
        row = events.slice(int(place), 1).to_pylist()[0]
        yield f"{title}, a row that was not there: " + ", ".join(f"{k}={v}" for k, v in row.items())


def later_rows(then: Origins, now: Origins) -> Iterator[str]:
    """Count the rows that are new, or others, and became known after the cutoff."""
    for kind, kept, found in (("event", then.events, now.events), ("table", then.tables, now.tables)):
        for name in sorted((kept or {}).keys() & (found or {}).keys()):
            was, is_now = (kept or {})[name].later, (found or {})[name].later
            if was != is_now:
                difference = compare(was.read(), is_now.read())
                count = (
                    f"{len(difference.added):,}"
                    if difference.complete
                    else f"about {is_now.rows - was.rows:,}"
                )
                yield (
                    f"{kind} '{name}': {count} rows that became known after the cutoff are new; "
                    "training does not see them"
                )


def _known(kept: Kept) -> dict[str, object]:
    return {name: rows.known for name, rows in kept.items()}
