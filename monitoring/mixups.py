"""Columns that are whole in themselves, but not what they are called: another unit, another column."""

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from knownat.contract.held import HeldNumbers
from monitoring.distances import wasserstein

_SHARES = tuple(k / 20 for k in range(1, 20))
_FEWEST_QUANTILES = 5
_AGREE = 0.1
_UNITS = (24.0, 60.0, 100.0, 1_000.0, 3_600.0, 86_400.0, 1e6, 1.609344, 2.20462, 2.54, 3.28084)
"""Hours in a day, seconds in a minute, percent, kilo, ..., kilometres in a mile, feet in a metre."""
_LARGE = 8.0
_APART, _NEAR = 0.3, 0.1

Pair = tuple[HeldNumbers, HeldNumbers]
"""A column's reference and its window."""


def unit_factor(before: HeldNumbers, now: HeldNumbers) -> float | None:
    """Return by what factor every quantile grew, if it is one and that of a unit; else none.

    A factor is a unit's if it is near a known one or its inverse, or larger than demand or weather do.
    """
    quantiles = [(before.quantile(share), now.quantile(share)) for share in _SHARES]
    ratios = np.array([new / old for old, new in quantiles if old and new is not None])
    distinct = len({old for old, _ in quantiles if old})
    if distinct < _FEWEST_QUANTILES or len(ratios) < _FEWEST_QUANTILES:
        return None
    factor = float(np.median(ratios))
    if factor <= 0 or np.max(np.abs(ratios / factor - 1)) > _AGREE:
        return None
    size = max(factor, 1 / factor)
    known = any(abs(size / unit - 1) <= _AGREE / 2 for unit in _UNITS)
    return factor if known or size >= _LARGE else None


def swapped_pairs(columns: Mapping[str, Pair]) -> Iterator[tuple[str, str]]:
    """Find pairs of columns that each hold what the other used to, and no longer their own."""
    moved = [
        name
        for name, (before, now) in columns.items()
        if (own := wasserstein(before, now)) is not None and own > _APART
    ]
    for one, two in combinations(moved, 2):
        crossed = (
            wasserstein(columns[one][0], columns[two][1]),
            wasserstein(columns[two][0], columns[one][1]),
        )
        if all(found is not None and found < _NEAR for found in crossed):
            yield one, two
