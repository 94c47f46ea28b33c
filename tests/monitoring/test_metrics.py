import numpy as np
import pytest

from monitoring.metrics import display_name, measurable, measure_all

random = np.random.default_rng(5)
LABEL = (random.random(2_000) < 0.3).astype(np.float64)
# Rounded, so that scores tie.
SCORE = np.clip(np.round(0.3 * LABEL + 0.5 * random.random(2_000), 2), 0, 1)


def test_a_task_has_its_own_metrics():
    assert measurable("multiclass") == ("log_loss", "accuracy")
    assert measurable("regression") == ("mae", "rmse")
    assert display_name("rmse") == "Root mean squared error"


def test_a_metric_without_meaning_is_left_out():
    found = measure_all(("auc", "log_loss"), np.ones(50), np.linspace(0.1, 0.9, 50))

    assert list(found) == ["log_loss"]


def test_intervals_are_the_same_each_time_and_hold_the_value():
    first, again = (measure_all(("auc", "mae"), LABEL, SCORE) for _ in range(2))

    assert first == again
    for interval in first.values():
        assert interval.low < interval.value < interval.high
        assert interval.rows == 2_000


def test_an_interval_is_as_wide_as_the_sampling_error():
    # The mean of n draws of variance 1/12 has a 95 % interval of 2 x 1.96 / sqrt(12 n).
    found = measure_all(("mae",), np.zeros(3_000), random.random(3_000))["mae"]

    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(12 * 3_000), rel=0.15)
