"""What a column held: counts by bucket, and whatever fell outside of every bucket.

Two of them add up to that of both columns together, exactly and in any order: every field is a count,
a smallest, a largest, or a set.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.columns import Numbers
from knownat.contract.grid import Grid, NameGrid, NumberGrid
from knownat.errors import SchemaMismatch

Counts = npt.NDArray[np.int64]
Sketch = Mapping[int, int]
"""Rows by distance: 64 steps from each power of two to the next."""

NEW_NAMES_KEPT = 64
_STEP_BITS = 52 - 6
_LARGEST = float(np.finfo(np.float64).max)
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Segments:
    """Ascending pieces of the number line and the rows in each; ``left < right``."""

    left: Numbers
    right: Numbers
    rows: Counts


@dataclass(frozen=True, eq=False)
class HeldNumbers:
    """The values of a number column, by bucket; beyond the reference's own range, by distance."""

    grid: NumberGrid
    counts: Counts
    below: Sketch
    above: Sketch
    low: float | None
    """The smallest finite value; None without one."""
    high: float | None
    minus_infinite: int = 0
    infinite: int = 0

    @property
    def finite(self) -> int:
        """How many finite values there are."""
        return int(self.counts.sum())

    @property
    def constant(self) -> bool:
        """Whether there are finite values, and all of them are the same."""
        return self.low is not None and self.low == self.high

    @classmethod
    def of(cls, grid: NumberGrid, ordered: Numbers) -> "HeldNumbers":
        """Count numbers in ascending order, infinities included."""
        first, last = (int(np.searchsorted(ordered, *at)) for at in ((-np.inf, "right"), (np.inf, "left")))
        finite = ordered[first:last]
        up_to = np.searchsorted(finite, grid.cuts, side="right")
        edges = grid.cuts
        with np.errstate(over="ignore"):
            below, above = edges[0] - finite[: up_to[0]], finite[up_to[-1] :] - edges[-1]
        return cls(
            grid=grid,
            counts=np.diff(np.r_[0, up_to, len(finite)]).astype(np.int64),
            below=_sketch(below),
            above=_sketch(above),
            # Adding zero makes a negative zero plain, so that the order of merging cannot be seen.
            low=float(finite[0]) + 0.0 if len(finite) else None,
            high=float(finite[-1]) + 0.0 if len(finite) else None,
            minus_infinite=first,
            infinite=len(ordered) - last,
        )

    def __add__(self, other: "HeldNumbers") -> "HeldNumbers":
        """Count both."""
        _refuse_other_grid(self.grid, other.grid)
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return HeldNumbers(
            grid=self.grid,
            counts=self.counts + other.counts,
            below=added(self.below, other.below),
            above=added(self.above, other.above),
            low=min(lows, default=None),
            high=max(highs, default=None),
            minus_infinite=self.minus_infinite + other.minus_infinite,
            infinite=self.infinite + other.infinite,
        )

    def __eq__(self, other: object) -> bool:
        """Whether every count is the same."""
        return isinstance(other, HeldNumbers) and _same_fields(self, other)

    def __hash__(self) -> int:
        """Hash what equal ones share."""
        return hash((self.grid.name, self.finite, self.low, self.high))

    def segments(self) -> Segments:
        """Lay the finite values out on the number line, as finely as they were counted."""
        if self.low is None or self.high is None:
            nothing = np.array([])
            return Segments(nothing, nothing, nothing.astype(np.int64))
        edges = self.grid.cuts
        near_below, far_below, rows_below = _steps(self.below)
        near_above, far_above, rows_above = _steps(self.above)
        with np.errstate(over="ignore"):
            left = np.r_[(edges[0] - far_below)[::-1], edges[:-1], edges[-1] + near_above]
            right = np.r_[(edges[0] - near_below)[::-1], edges[1:], edges[-1] + far_above]
        rows = np.r_[rows_below[::-1], self.counts[1:-1], rows_above]
        kept = rows > 0
        left, right = np.clip(left[kept], self.low, self.high), np.clip(right[kept], self.low, self.high)
        # A distance from a far larger edge is rounded; the two ends are known exactly.
        left[0], right[-1] = self.low, self.high
        with np.errstate(over="ignore"):
            return Segments(np.minimum(left, np.nextafter(right, -np.inf)), right, rows[kept])

    def quantile(self, share: float) -> float | None:
        """Return the value that this share of the finite values is not above; None without values.

        Exact where a value has a bucket of its own, else interpolated within a bucket.
        """
        return float(self.quantiles(np.array([share]))[0]) if self.finite else None

    def quantiles(self, shares: Numbers) -> Numbers:
        """Return :meth:`quantile` of each share; NaN without values."""
        found = self.segments()
        if not len(found.rows):
            return np.full(len(shares), np.nan)
        until = np.cumsum(found.rows)
        ranks = shares * float(until[-1])
        at = np.minimum(np.searchsorted(until, ranks), len(until) - 1)
        left, right, rows = found.left[at], found.right[at], found.rows[at]
        within = np.clip((ranks - until[at] + rows) / rows, 0.0, 1.0)
        # Left of the least float there is only minus infinity.
        with np.errstate(invalid="ignore"):
            between = left * (1 - within) + right * within
        return np.asarray(np.where(np.nextafter(left, np.inf) >= right, right, between))


@dataclass(frozen=True, eq=False)
class HeldNames:
    """The names of a text column: the reference's by count, and those it never held."""

    grid: NameGrid
    counts: Counts
    new: int = 0
    """Rows with a name that is not in the grid."""
    new_names: Mapping[str, int] = field(default_factory=dict)
    """Their names and rows; of very many, a fixed choice of :data:`NEW_NAMES_KEPT`."""

    @classmethod
    def of(cls, grid: NameGrid, texts: pa.Array) -> "HeldNames":
        """Count texts; nulls are left out."""
        counted = pc.value_counts(texts.drop_null())
        pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
        counts, new = np.zeros(grid.buckets, dtype=np.int64), {}
        for name, rows in pairs:
            if (at := grid.place.get(name)) is not None:
                counts[at] += rows
            else:
                new[name] = rows
        return cls(grid, counts, sum(new.values()), _chosen(new))

    def __add__(self, other: "HeldNames") -> "HeldNames":
        """Count both."""
        _refuse_other_grid(self.grid, other.grid)
        names = added(self.new_names, other.new_names)
        return HeldNames(self.grid, self.counts + other.counts, self.new + other.new, _chosen(names))

    def __eq__(self, other: object) -> bool:
        """Whether every count is the same."""
        return isinstance(other, HeldNames) and _same_fields(self, other)

    def __hash__(self) -> int:
        """Hash what equal ones share."""
        return hash((self.grid.name, self.new))

    def top(self, count: int) -> list[tuple[str, int]]:
        """Name the commonest known names with their rows; of equals, the reference's commoner first."""
        order = np.argsort(-self.counts, kind="stable")[:count].tolist()
        return [(self.grid.names[at], int(self.counts[at])) for at in order if self.counts[at]]


Held = HeldNumbers | HeldNames


def unseen_share(held: Held) -> float:
    """Estimate the share of rows whose value or name a sample of this size has not met.

    Good and Turing (1953): that of those it met once.
    """
    rows = int(held.counts.sum()) + (held.new if isinstance(held, HeldNames) else 0)
    return int((held.counts == 1).sum()) / rows if rows else 0.0


def _refuse_other_grid(one: Grid, two: Grid) -> None:
    if one is not two and one != two:
        raise SchemaMismatch(
            f"Column '{one.name}' was counted into other buckets; count both by the layout of one release."
        )


def _sketch(distances: Numbers) -> dict[int, int]:
    if not len(distances):
        return {}
    # The bits of a positive double grow with it: exponent, then mantissa.
    bits = np.minimum(distances, _LARGEST).view(np.int64) >> _STEP_BITS
    keys, rows = np.unique(bits, return_counts=True)
    return dict(zip(keys.tolist(), rows.tolist(), strict=True))


def _steps(sketch: Sketch) -> tuple[Numbers, Numbers, Counts]:
    keys = np.array(sorted(sketch), dtype=np.int64)
    near, far = ((at << _STEP_BITS).view(np.float64) for at in (keys, keys + 1))
    return near, np.minimum(far, _LARGEST), np.array([sketch[key] for key in keys.tolist()], dtype=np.int64)


def added(one: Mapping[_Key, int], two: Mapping[_Key, int]) -> dict[_Key, int]:
    """Add two tallies up."""
    return {key: one.get(key, 0) + two.get(key, 0) for key in (*one, *two)}


def _chosen(names: Mapping[str, int]) -> dict[str, int]:
    """Keep the names with the smallest digests: each part of a whole keeps those the whole would."""
    order = sorted(names, key=lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest())
    return {name: names[name] for name in order[:NEW_NAMES_KEPT]}


def _same_fields(one: HeldNumbers | HeldNames, two: HeldNumbers | HeldNames) -> bool:
    for part in fields(one):
        mine, theirs = getattr(one, part.name), getattr(two, part.name)
        if isinstance(mine, np.ndarray):
            if not np.array_equal(mine, theirs):
                return False
        elif mine != theirs:
            return False
    return True
