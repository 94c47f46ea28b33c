"""Metrics with intervals: every metric takes a weight a row, so that a bootstrap is a set of weights.

Training, gates and monitoring measure with these and no others.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from knownat.contract.release import Interval

Vector = npt.NDArray[np.float64]
Weighted = Callable[[Vector], float]
"""A metric of fixed labels and scores, as a function of a weight a row."""
Custom = Callable[[Vector, Vector, Vector], float]
"""A metric of a model's own: labels, scores and a weight a row."""

ECE_BINS = 10
REPLICATES = 200
_FEWEST_BLOCKS = 20
_TINY = 1e-15


def auc(labels: Vector, scores: Vector) -> float:
    """Area under the ROC curve: how often a positive outranks a negative, ties counted half.

    >>> auc(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    return measure("auc", labels, scores)


def measure(metric: str, labels: Vector, scores: Vector, *, quantile: float | None = None) -> float:
    """Measure one metric of :data:`knownat.contract.model_spec.METRICS`.

    Scores have shape (n,), or (n, classes) for a multiclass metric. NaN where the metric is not
    defined, such as the AUC of a single class.
    """
    return weigh(metric, labels, scores, quantile=quantile)(np.ones(len(labels)))


def weigh(
    metric: str,
    labels: Vector,
    scores: Vector,
    *,
    quantile: float | None = None,
    custom: Mapping[str, Custom] | None = None,
) -> Weighted:
    """Prepare one metric of these labels and scores for many sets of weights: rows are sorted once."""
    wanted, given = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if custom and metric in custom:
        function = custom[metric]
        return lambda weights: float(function(wanted, given, weights))
    return _METRICS[metric](wanted, given, quantile)


def compare_paired(
    first: Weighted, second: Weighted, *, blocks: npt.NDArray[np.int64], replicates: int = REPLICATES
) -> tuple[float, float, float]:
    """Measure by how much a metric differs between two sets of scores of the same rows.

    Returns first minus second with its 95 % percentile interval. Both see the same draws, so what
    makes a day hard for both cancels out.
    """
    drawn = [first(w) - second(w) for w in draw_weights(blocks, replicates=replicates)]
    everywhere = np.ones(len(blocks))
    value = first(everywhere) - second(everywhere)
    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if not np.isnan(drawn).all() else (np.nan, np.nan)
    return value, float(low), float(high)


def intervals(
    metrics: Iterable[str],
    labels: Vector,
    scores: Vector,
    *,
    blocks: npt.NDArray[np.int64],
    quantile: float | None = None,
    custom: Mapping[str, Custom] | None = None,
    replicates: int = REPLICATES,
) -> dict[str, Interval]:
    """Measure metrics with 95 % percentile bootstrap intervals, the same on every run.

    Rows of one block, such as a day, are drawn together: a day's rows share what made them good or
    bad, and drawing them apart would promise too much. Fewer than 20 blocks are too few to draw
    from; then rows are drawn. ``custom`` holds metrics of a model's own, by name.
    """
    labels = np.asarray(labels, dtype=np.float64)
    weights = list(draw_weights(blocks, replicates=replicates))
    results = {}
    for metric in dict.fromkeys(metrics):
        weighted = weigh(metric, labels, scores, quantile=quantile, custom=custom)
        drawn = np.array([weighted(weight) for weight in weights])
        low, high = np.nanpercentile(drawn, [2.5, 97.5]) if not np.isnan(drawn).all() else (np.nan, np.nan)
        value = weighted(np.ones(len(labels)))
        results[metric] = Interval(value=value, low=float(low), high=float(high), rows=len(labels))
    return results


def draw_weights(blocks: npt.NDArray[np.int64], *, replicates: int = REPLICATES) -> Iterable[Vector]:
    """Draw blocks again and again, the same on every run; a weight says how often its row was drawn."""
    _, block = np.unique(blocks, return_inverse=True)
    count = int(block.max()) + 1 if len(block) else 0
    if count < _FEWEST_BLOCKS:
        block, count = np.arange(len(block)), len(block)
    random = np.random.default_rng(20130101)
    for _ in range(replicates):
        times = np.bincount(random.integers(0, count, count), minlength=count)
        yield times[block].astype(np.float64)


def _mean_of(losses: Vector) -> Weighted:
    return lambda weights: float(weights @ losses / weights.sum())


def _ranked(labels: Vector, scores: Vector) -> tuple[npt.NDArray[np.int64], Vector, npt.NDArray[np.int64]]:
    """Order rows by falling score; return the order, its labels, and where each tie ends."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True)) if len(order) else order
    return order, labels[order], ends


def _auc(labels: Vector, scores: Vector, _: float | None) -> Weighted:
    order, positive, ends = _ranked(labels, scores)

    def weighted(weights: Vector) -> float:
        hits, misses = _hits_and_misses(weights[order], positive, ends)
        if not hits[-1] or not misses[-1]:
            return float("nan")
        # The trapezoids between ties are exactly the half points of tied pairs.
        return float(np.trapezoid(hits, misses) / (hits[-1] * misses[-1]))

    return weighted


def _average_precision(labels: Vector, scores: Vector, _: float | None) -> Weighted:
    order, positive, ends = _ranked(labels, scores)

    def weighted(weights: Vector) -> float:
        hits, misses = _hits_and_misses(weights[order], positive, ends)
        if not hits[-1]:
            return float("nan")
        picked = hits[1:] + misses[1:]
        precision = np.divide(hits[1:], picked, out=np.ones_like(picked), where=picked > 0)
        return float(precision @ np.diff(hits) / hits[-1])

    return weighted


def _hits_and_misses(weights: Vector, positive: Vector, ends: npt.NDArray[np.int64]) -> tuple[Vector, Vector]:
    hits = np.cumsum(weights * positive)[ends]
    misses = np.cumsum(weights * (1 - positive))[ends]
    return np.concatenate(([0.0], hits)), np.concatenate(([0.0], misses))


def _log_loss(labels: Vector, scores: Vector, _: float | None) -> Weighted:
    if scores.ndim == 2:
        given = scores[np.arange(len(labels)), labels.astype(np.int64)]
        return _mean_of(-np.log(np.clip(given, _TINY, 1)))
    clipped = np.clip(scores, _TINY, 1 - _TINY)
    return _mean_of(-(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))


def _ece(labels: Vector, scores: Vector, _: float | None) -> Weighted:
    """Expected calibration error over ten bins of equal width (Naeini et al. 2015)."""
    bins = np.clip((scores * ECE_BINS).astype(np.int64), 0, ECE_BINS - 1)
    gaps = labels - scores

    def weighted(weights: Vector) -> float:
        return float(np.abs(np.bincount(bins, weights * gaps, minlength=ECE_BINS)).sum() / weights.sum())

    return weighted


def _rmse(labels: Vector, scores: Vector, _: float | None) -> Weighted:
    squared = _mean_of((labels - scores) ** 2)
    return lambda weights: float(np.sqrt(squared(weights)))


def _pinball(labels: Vector, scores: Vector, quantile: float | None) -> Weighted:
    if quantile is None:
        raise ValueError("the pinball loss needs the quantile it is the loss of")
    above = labels - scores
    return _mean_of(np.maximum(quantile * above, (quantile - 1) * above))


_METRICS: Mapping[str, Callable[[Vector, Vector, float | None], Weighted]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": lambda labels, scores, _: _mean_of((labels - scores) ** 2),
    "ece": _ece,
    "accuracy": lambda labels, scores, _: _mean_of((scores.argmax(axis=1) == labels).astype(np.float64)),
    "mae": lambda labels, scores, _: _mean_of(np.abs(labels - scores)),
    "rmse": _rmse,
    "pinball": _pinball,
}
