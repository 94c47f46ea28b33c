"""A comparison that may be looked at every day: its error holds over all looks together.

An interval of a fixed sample promises 95 % for one look. Who looks daily and stops at the first
"better" is wrong far more often. A confidence sequence holds at all times at once, so the first time
it leaves zero behind is a stop rule.
"""

from dataclasses import dataclass
from math import log

import numpy as np

from monitoring.metrics import Floats

ALPHA = 0.05
FEWEST_BLOCKS = 20
"""Before so many independent blocks their spread is not known well enough to say anything."""
FEWEST_ROWS = 20
"""A block of fewer rows waits for the next one's."""
_SHARPEST_AT = 40
"""After how many blocks the sequence is at its narrowest, compared with a single look."""


@dataclass(frozen=True)
class Course:
    """The mean of paired differences after each block, between bounds that hold at all times."""

    mean: Floats
    low: Floats
    high: Floats

    @property
    def stopped(self) -> int | None:
        """The first block after which zero was left behind; None as long as it was not."""
        beyond = np.flatnonzero((self.low > 0) | (self.high < 0))
        return int(beyond[0]) if len(beyond) else None


def follow(differences: Floats, *, alpha: float = ALPHA) -> Course:
    """Follow the mean of paired differences, one a block, with bounds that hold at every look.

    The asymptotic confidence sequence of a normal mixture (Waudby-Smith, Arbour, Sinha, Kennedy and
    Ramdas 2021, theorem 2.2), which is the mixture sequential probability ratio test turned around:
    zero leaves the bounds ever with chance ``alpha`` if the true mean is zero. Infinite before
    :data:`FEWEST_BLOCKS` blocks. A difference must be a mean of some rows: those of single rows can be
    so skewed that twice as many looks err as promised.
    """
    count = np.arange(1, len(differences) + 1, dtype=np.float64)
    mean = np.cumsum(differences) / count
    spread = np.sqrt(np.maximum(np.cumsum(differences**2) / count - mean**2, 0.0))
    # Of few blocks the spread is underestimated.
    spread *= np.sqrt(count / np.maximum(count - 1, 1))
    evidence = count * _mixture(alpha) + 1
    width = spread * np.sqrt(2 * evidence / (count**2 * _mixture(alpha)) * np.log(np.sqrt(evidence) / alpha))
    width[count < FEWEST_BLOCKS] = np.inf
    return Course(mean, mean - width, mean + width)


def _mixture(alpha: float) -> float:
    """Return the variance of the mixture that is sharpest after so many blocks (its equation 10)."""
    return (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / _SHARPEST_AT
