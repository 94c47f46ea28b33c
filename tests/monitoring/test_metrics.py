import numpy as np
import pytest
from sklearn import metrics as theirs

from monitoring.metrics import Scored, measurable, measure, measure_all
from training.metrics import measure as trained_measure

random = np.random.default_rng(5)
LABEL = (random.random(2_000) < 0.3).astype(np.float64)
# Rounded, so that scores tie.
SCORE = np.clip(np.round(0.3 * LABEL + 0.5 * random.random(2_000), 2), 0, 1)
WEIGHT = random.integers(0, 4, 2_000).astype(np.float64)


def weighted(metric, weight=WEIGHT):
    order = np.argsort(SCORE, kind="stable")
    return measure(metric, Scored.of(LABEL, SCORE), weight=weight[order])


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("auc", theirs.roc_auc_score),
        ("average_precision", theirs.average_precision_score),
        ("log_loss", theirs.log_loss),
        ("brier", theirs.brier_score_loss),
        ("mae", theirs.mean_absolute_error),
        ("rmse", theirs.root_mean_squared_error),
        ("pinball", theirs.mean_pinball_loss),
    ],
)
def test_a_metric_equals_scikit_learns_with_and_without_weights(metric, reference):
    for weight in (WEIGHT, np.ones(len(LABEL))):
        expected = reference(LABEL, SCORE, sample_weight=weight)
        assert weighted(metric, weight) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("task", ["binary", "regression", "quantile"])
def test_the_window_is_measured_as_the_release_was(task):
    for metric in measurable(task):
        assert measure(metric, Scored.of(LABEL, SCORE), quantile=0.8) == pytest.approx(
            trained_measure(metric, LABEL, SCORE, quantile=0.8), rel=1e-12
        )


def test_a_calibrated_score_has_little_calibration_error():
    score = random.random(50_000)
    label = (random.random(50_000) < score).astype(np.float64)

    assert measure("ece", Scored.of(label, score)) < 0.01
    assert measure("ece", Scored.of(label, score / 2)) == pytest.approx(0.25, abs=0.01)


def test_a_metric_without_meaning_is_left_out():
    found = measure_all(("auc", "log_loss"), Scored.of(np.ones(50), np.linspace(0.1, 0.9, 50)))

    assert list(found) == ["log_loss"]


def test_intervals_are_the_same_each_time_and_hold_the_value():
    first, again = (measure_all(("auc", "mae"), Scored.of(LABEL, SCORE)) for _ in range(2))

    assert first == again
    for interval in first.values():
        assert interval.low < interval.value < interval.high
        assert interval.rows == 2_000


def test_an_interval_is_as_wide_as_the_sampling_error():
    # The mean of n draws of variance 1/12 has a 95 % interval of 2 x 1.96 / sqrt(12 n).
    found = measure_all(("mae",), Scored.of(np.zeros(3_000), random.random(3_000)))["mae"]

    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(12 * 3_000), rel=0.15)
