"""What a number may be before it counts as far outside: the reference's range, widened by itself."""

import numpy as np

from knownat.contract.held import HeldNumbers


def known_bounds(reference: HeldNumbers) -> tuple[float, float]:
    """Return the least and the largest value that are not far outside; of no value, everything."""
    if reference.low is None or reference.high is None:
        return -np.inf, np.inf
    # Of a constant reference nothing can be said but by the constant's own size.
    width = (reference.high - reference.low) or max(abs(reference.high), 1.0)
    return reference.low - width, reference.high + width


def rows_outside(held: HeldNumbers, low: float, high: float) -> int:
    """Count the finite values outside of two bounds; at least one if the smallest or largest is."""
    if held.low is None or held.high is None or (held.low >= low and held.high <= high):
        return 0
    pieces = held.segments()
    # A piece that straddles a bound counts as within.
    return max(int(pieces.rows[(pieces.right <= low) | (pieces.left >= high)].sum()), 1)
