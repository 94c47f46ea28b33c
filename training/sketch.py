"""A sketch of a set of rows: a few kilobytes that later tell which rows came, went or changed.

An invertible Bloom lookup table (Goodrich and Mitzenmacher 2011): each row falls into three cells, and
a cell keeps the number of its rows and the exclusive or of their hashes. Rows in both of two sets
cancel out; of what is left, a cell with one row gives it away, and taking that one out frees others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.row_hashes import Hashes, mix

CELLS = 384
"""Enough to name about 250 differing rows, whatever the number of rows."""

_THIRD = CELLS // 3
_SALTS = tuple(np.uint64(salt) for salt in (0x51ED270B0A3C5F21, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
_CHECK = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True)
class Sketch:
    """Cells of a set of row hashes: how many rows, their exclusive or, and that of their checks."""

    rows: int
    counts: npt.NDArray[np.int64]
    hashes: Hashes
    checks: Hashes


@dataclass(frozen=True)
class Difference:
    """Hashes of rows that only one of two sets has; ``complete`` unless there were too many to name."""

    added: frozenset[int]
    removed: frozenset[int]
    complete: bool


def sketch(hashes: Hashes) -> Sketch:
    """Sketch a set of row hashes, in any order."""
    counts = np.zeros(CELLS, dtype=np.int64)
    folded, checks = np.zeros(CELLS, dtype=np.uint64), np.zeros(CELLS, dtype=np.uint64)
    for cells in _cells(hashes):
        counts += np.bincount(cells, minlength=CELLS)
        np.bitwise_xor.at(folded, cells, hashes)
        np.bitwise_xor.at(checks, cells, _check(hashes))
    return Sketch(len(hashes), counts, folded, checks)


def compare(before: Sketch, after: Sketch) -> Difference:
    """Name the rows that were added to and removed from a set since it was sketched."""
    counts = after.counts - before.counts
    folded, checks = after.hashes ^ before.hashes, after.checks ^ before.checks
    added: set[int] = set()
    removed: set[int] = set()
    while (cell := _cell_of_one(counts, folded, checks)) is not None:
        row, sign = folded[cell : cell + 1].copy(), int(counts[cell])
        (added if sign > 0 else removed).add(int(row[0]))
        for cells in _cells(row):
            counts[cells] -= sign
            folded[cells] ^= row
            checks[cells] ^= _check(row)
    left = bool(counts.any() or folded.any())
    return Difference(frozenset(added), frozenset(removed), complete=not left)


def _cell_of_one(counts: npt.NDArray[np.int64], folded: Hashes, checks: Hashes) -> int | None:
    alone = np.flatnonzero((np.abs(counts) == 1) & (checks == _check(folded)))
    return int(alone[0]) if len(alone) else None


def _cells(hashes: Hashes) -> list[npt.NDArray[np.int64]]:
    # Each in a third of its own, so that no row falls into one cell twice.
    return [
        (mix(hashes ^ salt) % np.uint64(_THIRD)).astype(np.int64) + third * _THIRD
        for third, salt in enumerate(_SALTS)
    ]


def _check(hashes: Hashes) -> Hashes:
    return mix(hashes ^ _CHECK)
