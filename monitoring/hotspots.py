"""Where rows cost more than such rows cost in the release's test: bucket by bucket of every column."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import pyarrow as pa

from knownat.contract.buckets import Buckets
from knownat.contract.profile import ColumnProfile
from knownat.errors import SchemaMismatch
from monitoring.metrics import Floats
from monitoring.summary import Hotspot
from monitoring.usual import Rows

_FEWEST_ROWS = 50
_FALSE_ALARMS = 0.01


@dataclass(frozen=True)
class Cost:
    """Rows with what each of them cost."""

    rows: pa.Table
    losses: Floats


def find_hotspot(columns: Mapping[str, ColumnProfile], window: Cost, test: Cost) -> Hotspot | None:
    """Name the bucket whose rows became dearer most clearly beyond all other rows; None if none did.

    A bucket's own excess is held against that of the rest of the window, so a model that is worse
    everywhere has no hotspot. Beyond chance among so many buckets (Bonferroni).
    """
    found = list(_candidates(columns, window, test))
    if not found:
        return None
    limit = NormalDist().inv_cdf(1 - _FALSE_ALARMS / len(found))
    clear = [(z, hotspot) for z, hotspot in found if z > limit]
    return max(clear, key=lambda pair: pair[0])[1] if clear else None


def _candidates(
    columns: Mapping[str, ColumnProfile], window: Cost, test: Cost
) -> Iterator[tuple[float, Hotspot]]:
    for name, reference in columns.items():
        if name not in window.rows.column_names or name not in test.rows.column_names:
            continue
        buckets = Buckets.of(reference)
        try:
            now, then = (buckets.locate(side.rows[name]) for side in (window, test))
        except SchemaMismatch:
            continue
        for place, label in enumerate(buckets.labels):
            inside, before = now == place, then == place
            enough = min(inside.sum(), (~inside).sum(), before.sum(), (~before).sum()) >= _FEWEST_ROWS
            if enough:
                yield _contrast(name, label, (window.losses, inside), (test.losses, before))


def _contrast(
    column: str, label: str, window: tuple[Floats, Rows], test: tuple[Floats, Rows]
) -> tuple[float, Hotspot]:
    parts = [losses[marks] for losses, marks in (window, test)]
    rest = [losses[~marks] for losses, marks in (window, test)]
    excess = (parts[0].mean() - parts[1].mean()) - (rest[0].mean() - rest[1].mean())
    error = sum(float(held.var(ddof=1)) / len(held) for held in (*parts, *rest)) ** 0.5
    hotspot = Hotspot(
        column=column,
        bucket=label,
        rows=len(parts[0]),
        loss=float(parts[0].mean()),
        loss_in_test=float(parts[1].mean()),
    )
    return (float(excess) / error if error else 0.0), hotspot
