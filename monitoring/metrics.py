"""The metrics of a model's declaration, as a window of production is measured with them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from knownat.contract.model_spec import METRICS, Task
from knownat.contract.release import Interval
from knownat.scoring.metrics import intervals

Floats = npt.NDArray[np.float64]

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


def display_name(metric: str) -> str:
    """Spell a metric out for people."""
    return _NAMES.get(metric, metric)


def measurable(task: Task) -> tuple[str, ...]:
    """Name the metrics of a task."""
    return tuple(name for name, (_, tasks) in METRICS.items() if task in tasks)


def measure_all(
    metrics: Sequence[str], label: Floats, score: Floats, *, quantile: float | None = None
) -> dict[str, Interval]:
    """Compute metrics with percentile bootstrap intervals; one without meaning is left out.

    The same rows give the same interval: the resamples are drawn from a fixed seed.
    """
    # A window is too short to draw whole days of, so rows are drawn.
    found = intervals(metrics, label, score, blocks=np.arange(len(label)), quantile=quantile)
    return {metric: interval for metric, interval in found.items() if np.isfinite(interval.value)}
