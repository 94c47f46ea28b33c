"""The metrics of a model's declaration, computed on weighted rows, with bootstrap intervals.

Weights make a resample cheap: rows are sorted by score once, and each resample only counts how often
it drew each row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from knownat.contract.model_spec import METRICS, Task
from knownat.contract.release import Interval

Floats = npt.NDArray[np.float64]

_RESAMPLES = 200
_SEED = 20_130_115
_ECE_BINS = 10
_SMALLEST_PROBABILITY = 1e-15

_NAMES = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "Calibration error",
    "accuracy": "Accuracy",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "pinball": "Pinball loss",
}


@dataclass(frozen=True)
class Scored:
    """Labels and scores of n rows, ordered by score."""

    label: Floats
    score: Floats

    @classmethod
    def of(cls, label: Floats, score: Floats) -> "Scored":
        """Order the rows by score."""
        order = np.argsort(score, kind="stable")
        return cls(label[order], score[order])

    def __len__(self) -> int:
        return len(self.label)


def display_name(metric: str) -> str:
    """Spell a metric out for people."""
    return _NAMES.get(metric, metric)


def measurable(task: Task) -> tuple[str, ...]:
    """Name the metrics of a task that one label and one score a row suffice for."""
    return tuple(name for name, (_, tasks) in METRICS.items() if task in tasks and name in _METRICS)


def measure(
    metric: str, rows: Scored, *, quantile: float | None = None, weight: Floats | None = None
) -> float:
    """Compute one metric; NaN where it has no meaning, such as an AUC of one class.

    Raises
    ------
    KeyError
        If the metric is not one of :func:`measurable`.
    """
    weight = np.ones(len(rows)) if weight is None else weight
    return _METRICS[metric](rows, weight, 0.5 if quantile is None else quantile)


def measure_all(
    metrics: Sequence[str], rows: Scored, *, quantile: float | None = None
) -> dict[str, Interval]:
    """Compute metrics with percentile bootstrap intervals; one without meaning is left out.

    The same rows give the same interval: the resamples are drawn from a fixed seed.
    """
    values = {metric: measure(metric, rows, quantile=quantile) for metric in metrics}
    found = {metric: value for metric, value in values.items() if np.isfinite(value)}
    drawn: dict[str, list[float]] = {metric: [] for metric in found}
    random = np.random.default_rng(_SEED)
    for _ in range(_RESAMPLES):
        weight = np.bincount(random.integers(len(rows), size=len(rows)), minlength=len(rows)).astype(
            np.float64
        )
        for metric, sample in drawn.items():
            sample.append(measure(metric, rows, quantile=quantile, weight=weight))
    return {
        metric: Interval(value=value, rows=len(rows), **_bounds(drawn[metric], value))
        for metric, value in found.items()
    }


def _bounds(sample: Sequence[float], value: float) -> dict[str, float]:
    finite = np.array([drawn for drawn in sample if np.isfinite(drawn)])
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (value, value)
    return {"low": float(low), "high": float(high)}


def _by_score(rows: Scored, weight: Floats) -> tuple[Floats, Floats]:
    """Sum the positive and the negative weight at each distinct score, in rising order."""
    starts = np.flatnonzero(np.r_[True, rows.score[1:] != rows.score[:-1]])
    return np.add.reduceat(weight * rows.label, starts), np.add.reduceat(weight * (1 - rows.label), starts)


def _auc(rows: Scored, weight: Floats, _: float) -> float:
    positive, negative = _by_score(rows, weight)
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)


def _average_precision(rows: Scored, weight: Floats, _: float) -> float:
    positive, negative = (part[::-1] for part in _by_score(rows, weight))
    if not positive.sum():
        return float("nan")
    found, kept = np.cumsum(positive), np.cumsum(positive + negative)
    precision = np.divide(found, kept, out=np.zeros_like(found), where=kept > 0)
    return float((positive * precision).sum() / positive.sum())


def _log_loss(rows: Scored, weight: Floats, _: float) -> float:
    p = np.clip(rows.score, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return float(np.average(-(rows.label * np.log(p) + (1 - rows.label) * np.log1p(-p)), weights=weight))


def _brier(rows: Scored, weight: Floats, _: float) -> float:
    return float(np.average((rows.label - rows.score) ** 2, weights=weight))


def _ece(rows: Scored, weight: Floats, _: float) -> float:
    """Expected calibration error over ten bins of equal width."""
    place = np.minimum((rows.score * _ECE_BINS).astype(np.int64), _ECE_BINS - 1)
    gap = np.bincount(place, weights=weight * (rows.label - rows.score), minlength=_ECE_BINS)
    return float(np.abs(gap).sum() / weight.sum())


def _mae(rows: Scored, weight: Floats, _: float) -> float:
    return float(np.average(np.abs(rows.label - rows.score), weights=weight))


def _rmse(rows: Scored, weight: Floats, _: float) -> float:
    return float(np.sqrt(np.average((rows.label - rows.score) ** 2, weights=weight)))


def _pinball(rows: Scored, weight: Floats, quantile: float) -> float:
    over = rows.label - rows.score
    return float(np.average(np.maximum(quantile * over, (quantile - 1) * over), weights=weight))


_METRICS: dict[str, Callable[[Scored, Floats, float], float]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": _brier,
    "ece": _ece,
    "mae": _mae,
    "rmse": _rmse,
    "pinball": _pinball,
}
