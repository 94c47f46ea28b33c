"""How far apart two distributions are, from their counts alone."""

import numpy as np

from knownat.contract.columns import Numbers
from knownat.contract.held import Counts, HeldNames, HeldNumbers

_RAREST = 0.001
_SMALLEST_SCALE = 0.001


def psi(before: Counts, now: Counts) -> float:
    """Population stability index, sum of (q - p) ln(q / p), over buckets that hold anything.

    One row in a thousand is added to each bucket, so that an empty one is rare, not impossible, and
    the same shares give the same PSI however many rows they are of.
    """
    used = (before + now) > 0
    old, new = (counts[used] / counts.sum() + _RAREST for counts in (before, now))
    p, q = old / old.sum(), new / new.sum()
    return float(np.sum((q - p) * np.log(q / p)))


def psi_of_each(before: Counts, windows: Counts) -> Numbers:
    """Return the PSI of every window (one a row) from the same reference, as :func:`psi` does."""
    old = before / before.sum()
    new = windows / windows.sum(axis=1, keepdims=True)
    used = ((before > 0) | (windows > 0)).astype(np.float64)
    p, q = ((shares + _RAREST) * used for shares in (old, new))
    p, q = (part / part.sum(axis=1, keepdims=True) for part in (p, q))
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(used > 0, (q - p) * np.log(q / p), 0.0)
    return np.asarray(terms.sum(axis=1))


def wasserstein(before: HeldNumbers, now: HeldNumbers) -> float | None:
    """Mean distance that mass moved (Wasserstein-1), in standard deviations of the reference.

    Within a bucket mass is taken as spread evenly on both sides. None where a side has no finite
    value, or their range is beyond what floats can span.
    """
    if not before.finite or not now.finite:
        return None
    points, levels = zip(*(_distribution(held) for held in (before, now)), strict=True)
    at = np.unique(np.concatenate(points))
    gap = np.subtract(*(np.interp(at, x, share) for x, share in zip(points, levels, strict=True)))
    a, b = np.abs(gap[:-1]), np.abs(gap[1:])
    crosses = gap[:-1] * gap[1:] < 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # Where the lines cross, the two triangles between them.
        mean = np.where(crosses, (a**2 + b**2) / (2 * (a + b)), (a + b) / 2)
        moved = float(np.sum(mean * np.diff(at))) / scale_of(before)
    return moved if np.isfinite(moved) else None


def mean_of(held: HeldNumbers) -> float:
    """Return the mean of mass that is spread evenly within its buckets; NaN without a finite value.

    No two distributions are nearer to one another (Wasserstein-1) than their means.
    """
    if not held.finite:
        return float("nan")
    pieces = held.segments()
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sum((pieces.left / 2 + pieces.right / 2) * (pieces.rows / pieces.rows.sum())))


def scale_of(held: HeldNumbers) -> float:
    """Return what a distance from this reference is measured in."""
    return max(held.grid.scale, _SMALLEST_SCALE)


def jensen_shannon(before: HeldNames, now: HeldNames) -> float | None:
    """Jensen-Shannon distance of two columns of names, natural logarithm; None without names on a side.

    New names count one by one as far as they are kept, the rest together.
    """
    names = sorted({*before.new_names, *now.new_names})
    p, q = (
        np.array([*held.counts, *kept, held.new - sum(kept)], dtype=np.float64)
        for held in (before, now)
        for kept in [[held.new_names.get(name, 0) for name in names]]
    )
    if not p.sum() or not q.sum():
        return None
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    return float(np.sqrt(max((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2, 0.0)))


def _relative_entropy(p: Numbers, q: Numbers) -> float:
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / q[held])))


def _distribution(held: HeldNumbers) -> tuple[Numbers, Numbers]:
    """Return points of the number line and the share of mass up to each, linear in between."""
    pieces = held.segments()
    until = np.cumsum(pieces.rows) / pieces.rows.sum()
    points = np.ravel(np.column_stack([pieces.left, pieces.right]))
    return points, np.ravel(np.column_stack([np.r_[0.0, until[:-1]], until]))
