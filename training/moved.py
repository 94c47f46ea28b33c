"""What moved between two worlds: of a table's rows, of a frame's cells, with one of them to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from knownat.clock import to_us
from training.comparison import differs
from training.split import microseconds

_EVENT, _CREATED = "event_timestamp", "created_timestamp"


@dataclass(frozen=True)
class Moved:
    """A table or column that knew the future: how many rows moved, and one of them in words."""

    where: str
    rows: int
    example: str


def moved_cells(
    before: pa.Table, after: pa.Table, *, columns: Sequence[str], keys: Sequence[str]
) -> list[Moved]:
    """Compare two frames of the same questions column by column; ``keys`` say which question moved."""
    found = []
    for name in columns:
        mask = differs(after[name], before[name])
        if not mask.any():
            continue
        at = int(mask.argmax())
        asked = ", ".join(f"{key}={before[key][at].as_py()}" for key in keys)
        was, now = before[name][at].as_py(), after[name][at].as_py()
        found.append(Moved(name, int(mask.sum()), f"of the question {asked} it was {was}, and became {now}"))
    return found


def moved_rows(
    name: str, before: Path, after: Path, *, at: datetime, keys: Sequence[str]
) -> tuple[int, Moved | None]:
    """Compare the rows of one built table that were visible by an instant.

    Returns their number in the real table, and what moved. Built tables lie in the order in which
    their rows became visible, and no two rows agree in keys and times, so equal tables are equal row by row.
    """
    was, now = (_visible(path, at) for path in (before, after))
    shared = min(was.num_rows, now.num_rows)
    mask = differs(was[_EVENT].slice(0, shared), now[_EVENT].slice(0, shared))
    for column in was.column_names:
        mask |= differs(now[column].slice(0, shared), was[column].slice(0, shared))
    rows = int(mask.sum()) + abs(was.num_rows - now.num_rows)
    if not rows:
        return was.num_rows, None
    place = int(mask.argmax()) if mask.any() else shared
    longer = was if was.num_rows > place else now
    identity = {column: longer[column][place].as_py() for column in (*keys, _EVENT, _CREATED)}
    told = ", ".join(f"{column}={value}" for column, value in identity.items())
    return was.num_rows, Moved(name, rows, f"the first of them is {told}")


def _visible(path: Path, at: datetime) -> pa.Table:
    table = pq.read_table(path)
    instant = to_us(at)
    event, created = (microseconds(table[name]) for name in (_EVENT, _CREATED))
    return table.filter(pa.array((event <= instant) & (created <= instant)))
