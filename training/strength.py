"""How well one column alone tells the answer: learned on the earlier half, judged on the later one."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from knownat.contract.model_spec import ModelSpec
from knownat.scoring.metrics import auc
from training.dataset import Vector

_BINS = 32
_PRIOR_ROWS = 10.0
_SURE = 3.0
"""Standard errors on either side: about one false alarm in a thousand columns at the bound itself."""


@dataclass(frozen=True)
class Strength:
    """An AUC and the range that chance leaves it; NaN where one of two answers does not occur."""

    auc: float
    low: float
    high: float
    rows: int


def as_yes_or_no(labels: Vector, spec: ModelSpec) -> Vector:
    """Make two answers of any: above the middle for a number, the most common class or another."""
    if spec.task == "binary":
        return labels
    if spec.task == "multiclass":
        commonest = np.bincount(labels.astype(np.int64)).argmax()
        return np.asarray(labels == commonest, dtype=np.float64)
    return np.asarray(labels > np.median(labels), dtype=np.float64)


def judged_alone(column: Vector, answers: Vector, *, categorical: bool) -> Vector:
    """Score the later half of rows in time order by the mean answer of like rows in the earlier half.

    Like are the rows of one category, or of one of 32 ranges of about as many rows each; rows without
    a value are like each other. The answer is a score a row of the later half.
    """
    half = len(column) // 2
    group = column if categorical else _ranges(column, column[:half])
    codes = np.where(np.isnan(group), -1, group).astype(np.int64) + 1
    groups = int(codes.max(initial=0)) + 1
    rows = np.bincount(codes[:half], minlength=groups)
    yes = np.bincount(codes[:half], weights=answers[:half], minlength=groups)
    base = answers[:half].mean() if half else 0.5
    means = (yes + _PRIOR_ROWS * base) / (rows + _PRIOR_ROWS)
    return np.asarray(means[codes[half:]], dtype=np.float64)


def strength(scores: Vector, answers: Vector) -> Strength:
    """Measure an AUC with the error of Hanley and McNeil (1982)."""
    value = auc(answers, scores)
    yes = float(answers.sum())
    no = len(answers) - yes
    if np.isnan(value):
        return Strength(value, value, value, len(answers))
    both_yes, both_no = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (yes - 1) * (both_yes - value**2) + (no - 1) * (both_no - value**2)
    # One row in the wrong place is the least that chance can do to an AUC of 1.
    error = max(float(np.sqrt(spread / (yes * no))), 1 / (yes * no))
    return Strength(value, value - _SURE * error, value + _SURE * error, len(answers))


def _ranges(column: Vector, earlier: Vector) -> npt.NDArray[np.float64]:
    known = earlier[~np.isnan(earlier)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else known
    found = np.searchsorted(edges, column, side="left").astype(np.float64)
    return np.where(np.isnan(column), np.nan, found)
