"""Whether scores mean what they say: what was said and what came, tenth by tenth of the rows."""

import numpy as np

from monitoring.metrics import Floats
from monitoring.summary import CalibrationBin

_BINS = 10
_FEWEST_ROWS = 30
_TWO_SIDED = 1.959964


def calibration_bins(labels: Floats, scores: Floats) -> tuple[CalibrationBin, ...]:
    """Cut rows into tenths by score, fewer where rows are few; equal scores stay together.

    The bounds of a share are Wilson's, those of other numbers the mean's own standard errors.
    """
    if scores.ndim != 1 or len(scores) < _FEWEST_ROWS:
        return ()
    bins = min(_BINS, len(scores) // _FEWEST_ROWS)
    edges = np.unique(np.quantile(scores, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, scores, side="right")
    return tuple(_bin(labels[place == at], scores[place == at]) for at in np.unique(place))


def _bin(labels: Floats, scores: Floats) -> CalibrationBin:
    share = bool(np.isin(labels, (0.0, 1.0)).all())
    low, high = _wilson(labels) if share else _normal(labels)
    return CalibrationBin(
        score=float(scores.mean()), label=float(labels.mean()), low=low, high=high, rows=len(labels)
    )


def _wilson(labels: Floats) -> tuple[float, float]:
    rows, share, z = len(labels), float(labels.mean()), _TWO_SIDED
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * (share * (1 - share) / rows + z**2 / (4 * rows**2)) ** 0.5
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _normal(labels: Floats) -> tuple[float, float]:
    mean = float(labels.mean())
    half = _TWO_SIDED * float(labels.std(ddof=1)) / len(labels) ** 0.5 if len(labels) > 1 else 0.0
    return mean - half, mean + half
