"""How much each single answer cost: the loss whose mean says whether scores are as good as they were."""

import numpy as np

from knownat.contract.model_spec import ModelSpec
from monitoring.metrics import Floats

_TINY = 1e-15
_OWN = {"brier", "mae", "pinball", "accuracy"}


def loss_name(spec: ModelSpec) -> str:
    """Name the loss of a model's rows: its metric's own where that is a mean over rows.

    Of a classifier it is the log loss, else; of numbers the squared error.
    """
    if spec.metric in _OWN:
        return "error rate" if spec.metric == "accuracy" else spec.metric
    return "squared error" if spec.task == "regression" else "log_loss"


def row_losses(spec: ModelSpec, labels: Floats, scores: Floats) -> Floats:
    """Return the loss of each row; less is better.

    Scores have shape (n,), or (n, classes) for a multiclass model, whose labels are class numbers.
    """
    name = loss_name(spec)
    if name == "error rate":
        return np.asarray(scores.argmax(axis=1) != labels, dtype=np.float64)
    if name == "log_loss":
        return _log_loss(labels, scores)
    gap = labels - scores
    if name == "pinball" and spec.quantile is not None:
        return np.asarray(np.maximum(spec.quantile * gap, (spec.quantile - 1) * gap))
    return np.asarray(np.abs(gap) if name == "mae" else gap**2)


def _log_loss(labels: Floats, scores: Floats) -> Floats:
    if scores.ndim == 2:
        given = scores[np.arange(len(labels)), labels.astype(np.int64)]
        return np.asarray(-np.log(np.clip(given, _TINY, 1)))
    clipped = np.clip(scores, _TINY, 1 - _TINY)
    return np.asarray(-(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))
