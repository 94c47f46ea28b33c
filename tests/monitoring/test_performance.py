from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.prediction_log import LABEL_SCHEMA
from knownat.contract.release import Interval
from monitoring.performance import compare, join_labels, measure_performance
from monitoring.summary import PerformanceStatus, Span
from tests.monitoring.shop_log import END, START, make_features, make_labels

WAIT = timedelta(hours=48)


@pytest.fixture(scope="module")
def answered(trained):
    """A window's predictions and the labels that came one hour after each question."""
    features = make_features(1_200, seed=6)
    return trained.rows(features), make_labels(features, seed=7)


def labels_of(predictions, values, *, after=timedelta(hours=1), logged_after=None):
    when = [moment + after for moment in predictions["event_timestamp"].to_pylist()]
    logged = [moment + (logged_after or after) for moment in predictions["event_timestamp"].to_pylist()]
    columns = [predictions["prediction_id"], pa.array(values), pa.array(when), pa.array(logged)]
    return pa.table(columns, names=LABEL_SCHEMA.names).cast(LABEL_SCHEMA)


def test_a_window_whose_labels_matured_is_measured(trained, answered):
    predictions, values = answered

    found = measure_performance(
        trained.release.manifest, predictions, labels_of(predictions, values), now=END + WAIT
    )

    assert found.status is PerformanceStatus.MEASURED
    assert (found.matured, found.pending, found.labelled, found.coverage) == (1_200, 0, 1_200, 1.0)
    assert found.metrics[0].metric == "auc"
    assert found.metrics[0].window.value == pytest.approx(0.83, abs=0.03)
    assert not any(change.fell for change in found.metrics[:1])


def test_a_label_that_came_early_waits_with_the_others(trained, answered):
    # Early arrivals are known first: to count them alone would judge a sample of the punctual.
    predictions, values = answered

    found = measure_performance(
        trained.release.manifest, predictions, labels_of(predictions, values), now=END + timedelta(hours=2)
    )

    assert (found.status, found.matured, found.pending) == (PerformanceStatus.PENDING, 0, 1_200)
    assert found.metrics == ()


def test_half_a_window_matures_after_half_of_it(trained, answered):
    predictions, values = answered
    middle = START + (END - START) / 2

    found = measure_performance(
        trained.release.manifest, predictions, labels_of(predictions, values), now=middle + WAIT
    )

    assert (found.matured, found.pending) == (601, 599)
    assert found.metrics[0].window.rows == 601


@pytest.mark.parametrize("late", ["known", "posted"])
def test_a_label_the_platform_did_not_have_yet_is_not_used(answered, late):
    predictions, values = answered
    now, soon, never = END + WAIT, timedelta(hours=1), timedelta(days=40)
    labels = labels_of(
        predictions,
        values,
        after=never if late == "known" else soon,
        logged_after=never if late == "posted" else soon,
    )

    assert join_labels(predictions, labels, now=now).num_rows == 0


def test_what_has_no_label_is_stated(trained, answered):
    predictions, values = answered
    labels = labels_of(predictions, values)

    some = measure_performance(trained.release.manifest, predictions, labels.slice(0, 300), now=END + WAIT)
    few = measure_performance(trained.release.manifest, predictions, labels.slice(0, 199), now=END + WAIT)
    none = measure_performance(trained.release.manifest, predictions, labels.slice(0, 0), now=END + WAIT)

    assert (some.status, some.coverage) == (PerformanceStatus.MEASURED, 0.25)
    assert (few.status, few.labelled, few.metrics) == (PerformanceStatus.TOO_FEW, 199, ())
    assert (few.calibration, few.slices) == ((), ())
    assert (none.status, none.coverage) == (PerformanceStatus.UNLABELLED, 0.0)


def test_a_label_of_another_prediction_joins_nothing(answered):
    predictions, values = answered
    labels = labels_of(predictions, values)
    other = labels.set_column(0, LABEL_SCHEMA.field(0), pa.array([f"x{i}" for i in range(1_200)]))

    assert join_labels(predictions, other, now=END + WAIT).num_rows == 0


def test_judged_rows_come_in_one_order_however_their_labels_came(answered):
    predictions, values = answered
    labels = labels_of(predictions, values)
    shuffled = labels.take(pa.array(np.random.default_rng(5).permutation(labels.num_rows)))

    found = join_labels(predictions, shuffled, now=END + WAIT)

    assert found["prediction_id"].to_pylist() == sorted(predictions["prediction_id"].to_pylist())
    assert found.equals(join_labels(predictions, labels, now=END + WAIT))


def interval(value, spread=0.01):
    return Interval(value=value, low=value - spread, high=value + spread, rows=1_000)


@pytest.mark.parametrize(
    ("metric", "window", "drop", "fell", "surely"),
    [
        ("auc", interval(0.80), 0.0, False, False),
        ("auc", interval(0.72), 0.1, True, True),
        ("auc", interval(0.72, spread=0.05), 0.1, True, False),
        ("auc", interval(0.88), -0.1, False, False),
        ("log_loss", interval(0.88), 0.1, True, True),
        ("log_loss", interval(0.72), -0.1, False, False),
    ],
)
def test_worse_is_judged_in_the_metrics_own_direction(metric, window, drop, fell, surely):
    found = compare(metric, window, interval(0.80), allowed=0.05)

    assert found.drop == pytest.approx(drop)
    assert (found.fell, found.surely) == (fell, surely)


def test_worse_than_the_release_yet_usual_for_so_short_a_window_is_no_fall():
    low = interval(0.70)

    usual = compare("auc", low, interval(0.80), allowed=0.05, usual=Span(low=0.65, high=0.85))
    unusual = compare("auc", low, interval(0.80), allowed=0.05, usual=Span(low=0.72, high=0.85))
    error = compare("mae", interval(0.9), interval(0.80), allowed=0.05, usual=Span(low=0.7, high=1.0))

    assert (usual.fell, usual.surely, unusual.fell, unusual.surely) == (False, False, True, True)
    assert not error.fell


def test_a_release_that_did_not_measure_a_metric_is_not_compared_with():
    assert compare("auc", interval(0.1), None, allowed=0.05).drop is None
    # No share of nothing can be lost.
    assert compare("mae", interval(0.1), interval(0.0), allowed=0.05).drop is None


def test_scores_that_say_the_opposite_are_found(trained, answered):
    predictions, values = answered

    found = measure_performance(
        trained.release.manifest, predictions, labels_of(predictions, 1 - values), now=END + WAIT
    )

    assert found.metrics[0].surely
    assert found.metrics[0].window.value < 0.2
    assert found.mean_label == pytest.approx(1 - np.mean(values))
