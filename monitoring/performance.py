"""Scores against labels, only for predictions whose labels had time to arrive.

A label that comes early is not a fair sample (an early arrival is known before a late one), so a
prediction counts once the declared wait is over, whether or not its label came.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.columns import as_numbers
from knownat.contract.model_spec import METRICS, ModelSpec
from knownat.contract.prediction_log import TIMESTAMP, logged_scores, share_columns
from knownat.contract.release import Interval, Manifest
from knownat.scoring.metrics import measure
from monitoring.calibration import calibration_bins
from monitoring.metrics import Floats, measurable, measure_all
from monitoring.slices import measure_slices
from monitoring.summary import MetricChange, Performance, PerformanceStatus, Span
from monitoring.usual import rows_by_window
from monitoring.windows import Window


def measure_performance(
    manifest: Manifest,
    predictions: pa.Table,
    labels: pa.Table,
    *,
    now: datetime,
    usual: Mapping[str, Span] | None = None,
) -> Performance:
    """Join the labels known by ``now`` to the matured predictions and compare with the release.

    ``usual`` says, by metric, where windows of this length were when the release was tested.
    """
    spec = manifest.spec
    wait = spec.monitoring.label_wait_hours
    matured = mature(predictions, spec, now=now)
    judged = join_labels(matured, labels, now=now)
    label, score = labels_and_scores(judged)
    status = _status(spec, matured=matured.num_rows, labelled=judged.num_rows)
    enough = status is PerformanceStatus.MEASURED
    return Performance(
        status=status,
        label_wait_hours=wait,
        matured=matured.num_rows,
        pending=predictions.num_rows - matured.num_rows,
        labelled=judged.num_rows,
        mean_label=float(label.mean()) if len(label) and score.ndim == 1 else None,
        mean_score=float(score.mean()) if len(score) and score.ndim == 1 else None,
        metrics=_changes(manifest, label, score, usual=usual or {}) if enough else (),
        calibration=calibration_bins(label, score) if enough else (),
        slices=measure_slices(manifest, judged, label, score) if enough else (),
    )


def mature(predictions: pa.Table, spec: ModelSpec, *, now: datetime) -> pa.Table:
    """Return the predictions that were asked at least the label wait ago."""
    wait = timedelta(hours=spec.monitoring.label_wait_hours)
    return predictions.filter(_at_most(predictions["event_timestamp"], now - wait))


def join_labels(predictions: pa.Table, labels: pa.Table, *, now: datetime) -> pa.Table:
    """Return the predictions whose label the platform had by ``now``, with ``label``, by their id."""
    posted = _at_most(labels["logged_at"], now)
    known = labels.filter(pc.and_(posted, _at_most(labels["label_timestamp"], now)))
    # Places are joined, not rows: a log has a hundred columns. A join keeps no order, and a resample
    # draws rows by their place.
    ids = pa.table({"prediction_id": predictions["prediction_id"], "row": np.arange(len(predictions))})
    joined = ids.join(known.select(["prediction_id", "label"]), "prediction_id", join_type="inner")
    joined = joined.sort_by("prediction_id")
    judged = predictions.take(joined["row"]).append_column("label", joined["label"])
    shares = share_columns(judged)
    if not shares:
        return judged
    # A label that is no class the model knows says nothing of its shares.
    return judged.filter(pa.array(np.isin(judged["label"].to_numpy(), np.arange(len(shares)))))


def labels_and_scores(judged: pa.Table) -> tuple[Floats, Floats]:
    """Return both of judged predictions, as numbers; scores of shape (n, classes) for a multiclass model."""
    return as_numbers("label", judged["label"]), logged_scores(judged)


def usual_metrics(spec: ModelSpec, holdout: pa.Table, window: Window) -> dict[str, Span]:
    """Measure each metric in the hold-out's windows of this length: where 95 of 100 of them were.

    Over many windows a metric mixes easy and hard ones: within single windows an AUC is usually
    lower and always more varied than the release's own. Empty where there are too few windows.
    """
    known = holdout.filter(pc.is_valid(holdout["label"]))
    past = rows_by_window(known, window)
    label, score = labels_and_scores(known)
    spans = {}
    for metric in measurable(spec.task) if len(past) else ():
        found = [measure(metric, label[rows], score[rows], quantile=spec.quantile) for rows in past]
        finite = [value for value in found if np.isfinite(value)]
        if finite:
            low, high = np.quantile(finite, [0.025, 0.975])
            spans[metric] = Span(low=float(low), high=float(high))
    return spans


def compare(
    metric: str,
    window: Interval,
    release: Interval | None,
    *,
    allowed: float,
    usual: Span | None = None,
) -> MetricChange:
    """Say by what share of the release's number the window is worse, and whether that is too much."""
    if release is None or not release.value:
        return MetricChange(metric=metric, window=window, release=release, drop=None, usual=usual)
    higher = METRICS[metric][0] == "higher"
    best = window.high if higher else window.low
    drop, least = (_worse_by(value, release.value, higher=higher) for value in (window.value, best))
    unusual = usual is None or (window.value < usual.low if higher else window.value > usual.high)
    return MetricChange(
        metric=metric,
        window=window,
        release=release,
        drop=drop,
        usual=usual,
        fell=drop > allowed and unusual,
        surely=least > allowed and unusual,
    )


def _worse_by(value: float, was: float, *, higher: bool) -> float:
    return (was - value if higher else value - was) / abs(was)


def _changes(
    manifest: Manifest, label: Floats, score: Floats, *, usual: Mapping[str, Span]
) -> tuple[MetricChange, ...]:
    spec = manifest.spec
    names = [spec.metric, *(name for name in measurable(spec.task) if name != spec.metric)]
    found = measure_all(names, label, score, quantile=spec.quantile)
    allowed = spec.monitoring.max_metric_drop
    return tuple(
        compare(name, found[name], manifest.metrics.get(name), allowed=allowed, usual=usual.get(name))
        for name in names
        if name in found
    )


def _status(spec: ModelSpec, *, matured: int, labelled: int) -> PerformanceStatus:
    if not matured:
        return PerformanceStatus.PENDING
    if not labelled:
        return PerformanceStatus.UNLABELLED
    return PerformanceStatus.MEASURED if labelled >= spec.monitoring.min_rows else PerformanceStatus.TOO_FEW


def _at_most(times: pa.ChunkedArray, limit: datetime) -> pa.ChunkedArray:
    return pc.less_equal(times, pa.scalar(limit, TIMESTAMP))
