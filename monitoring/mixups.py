"""Columns that are whole in themselves, but not what they are called: another unit, another column."""

import math
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from knownat.contract.buckets import Buckets
from knownat.contract.columns import Numbers
from knownat.contract.held import Counts, HeldNames, HeldNumbers
from knownat.contract.profile import ColumnProfile
from monitoring.distances import mean_of, scale_of, wasserstein
from monitoring.usual import Past

_SHARES = np.arange(1, 20) / 20
_FEWEST_VALUES = 5
_UNITS = (24.0, 60.0, 100.0, 1_000.0, 3_600.0, 86_400.0, 1e6, 1.609344, 2.20462, 2.54, 3.28084)
"""Hours in a day, seconds in a minute, percent, kilo, ..., kilometres in a mile, feet in a metre."""
_CLOSE = 0.01
_LARGE = 8.0
"""Demand, delays and weather double or halve from season to season; they do not grow so many times."""
_BEYOND, _TINY = 1.5, 1e-6
_APART, _NEAR = 0.3, 0.1

Pair = tuple[HeldNumbers, HeldNumbers]
"""A column's reference and its window."""


def unit_factor(before: HeldNumbers, now: HeldNumbers) -> float | None:
    """Return by what factor every quantile grew, if it is one and that of a unit; else none.

    A factor is a unit's if it is larger than demand or weather ever are, or is a known one or its
    inverse as exactly as so many rows can tell, and nothing else about the column changed.
    """
    old, new = before.quantiles(_SHARES), now.quantiles(_SHARES)
    if not before.finite or not now.finite or len(np.unique(old[old != 0])) < _FEWEST_VALUES:
        return None
    factor = float(np.abs(new).sum() / np.abs(old).sum())
    if not factor or not np.isfinite(factor) or not before.grid.scale:
        return None
    size, chance = max(factor, 1 / factor), math.sqrt(1 / now.finite + 1 / before.finite)
    small = size < _LARGE
    if small and all(abs(size / unit - 1) > _CLOSE + chance for unit in _UNITS):
        return None
    # Divided by the factor it must be what it was.
    left = float(np.mean(np.abs(new / factor - old))) / before.grid.scale
    return factor if left < (_CLOSE + chance if small else _near(now)) else None


def usually_grows(reference: ColumnProfile, factor: float, past: Past) -> bool:
    """Whether a column's size varies so much from window to window that a factor is no surprise.

    ``past`` counts by bucket; each bucket stands for its middle value.
    """
    held = reference.held
    if isinstance(held, HeldNames) or not len(past):
        return False
    buckets = Buckets.of(reference)
    middles = held.quantiles(_middle_shares(buckets.collapse(reference)[:-1]))
    rows = past.counts[:, : len(middles)].astype(np.float64)
    enough = rows.sum(axis=1) > 0
    sizes = (rows[enough] @ np.abs(middles)) / rows[enough].sum(axis=1)
    usual = float(np.median(sizes))
    if not usual or not len(sizes):
        return False
    largest = float(np.max(np.abs(np.log(np.maximum(sizes, _TINY * usual) / usual))))
    return abs(math.log(factor)) < _BEYOND * largest


def _middle_shares(counts: Counts) -> Numbers:
    return np.asarray((np.cumsum(counts) - counts / 2) / max(int(counts.sum()), 1))


def swapped_pairs(columns: Mapping[str, Pair]) -> Iterator[tuple[str, str]]:
    """Find pairs of columns that each hold what the other used to, and no longer their own."""
    moved = [
        name
        for name, (before, now) in columns.items()
        if (own := wasserstein(before, now)) is not None and own > _APART + _near(now)
    ]
    middles = {name: tuple(mean_of(side) for side in columns[name]) for name in moved}

    def holds(shown: str, wanted: str, near: float) -> bool:
        """Whether one column now holds what another used to; most pairs' means alone are too far apart."""
        before, now = columns[wanted][0], columns[shown][1]
        if abs(middles[shown][1] - middles[wanted][0]) / scale_of(before) >= near:
            return False
        found = wasserstein(before, now)
        return found is not None and found < near

    for one, two in combinations(moved, 2):
        near = max(_near(columns[one][1]), _near(columns[two][1]))
        if holds(one, two, near) and holds(two, one, near):
            yield one, two


def _near(window: HeldNumbers) -> float:
    """Return the distance that counts as none: a tenth, and what so few rows show by chance."""
    return _NEAR + 2 / math.sqrt(window.finite)
