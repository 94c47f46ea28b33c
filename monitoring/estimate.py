"""What a metric ought to be, judging by the scores alone: for windows whose labels are still to come.

If a score of .3 means that three in ten are positive, the scores of a window say how well they must
rank and how much they must cost (confidence-based performance estimation). They say nothing of a
world that changed: a score keeps its meaning only as long as the world does. So the estimate is a
range around what it missed the truth by in the release's own test, and never a reason to act.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.columns import as_numbers
from knownat.contract.model_spec import ModelSpec
from knownat.scoring.metrics import measure
from monitoring.metrics import Floats
from monitoring.summary import Estimate, Span
from monitoring.usual import rows_by_window
from monitoring.windows import Window

_ESTIMABLE = ("auc", "average_precision", "log_loss", "brier")
_USUAL = (0.025, 0.975)


def expected_metric(metric: str, scores: Floats) -> float:
    """Return what a metric of these probabilities comes to if each means what it says."""
    if metric == "brier":
        return float(np.mean(scores * (1 - scores)))
    # Each row counts as a positive by its score and as a negative by the rest.
    return measure(metric, scores, scores)


def estimate_metrics(
    spec: ModelSpec, scores: Floats, holdout: pa.Table, window: Window
) -> tuple[Estimate, ...]:
    """Estimate the metrics of a window from its scores, with how far such estimates were off in the test.

    The model's own metric comes first. Empty for a task that is not binary, for fewer rows than are
    judged, and where the test has too few windows of this length to learn the error from.
    """
    if spec.task != "binary" or len(scores) < spec.monitoring.min_rows:
        return ()
    past = _past_windows(holdout, window)
    names = [spec.metric, *(name for name in _ESTIMABLE if name != spec.metric)]
    return tuple(
        found for name in names if name in _ESTIMABLE and (found := _estimate(name, scores, past)) is not None
    )


def _past_windows(holdout: pa.Table, window: Window) -> list[tuple[Floats, Floats]]:
    known = holdout.filter(pc.is_valid(holdout["label"])) if "label" in holdout.column_names else holdout
    rows = rows_by_window(known, window)
    if not rows:
        return []
    label, score = (as_numbers(name, known[name]) for name in ("label", "score"))
    return [(label[places], score[places]) for places in rows]


def _estimate(metric: str, scores: Floats, past: list[tuple[Floats, Floats]]) -> Estimate | None:
    missed = np.array([measure(metric, y, s) - expected_metric(metric, s) for y, s in past])
    missed, raw = missed[np.isfinite(missed)], expected_metric(metric, scores)
    if not len(missed) or not np.isfinite(raw):
        return None
    low, high = np.quantile(missed, _USUAL)
    bias = float(np.mean(missed))
    return Estimate(
        metric=metric,
        value=raw + bias,
        range=Span(low=raw + float(low), high=raw + float(high)),
        bias=bias,
        windows=len(missed),
    )
