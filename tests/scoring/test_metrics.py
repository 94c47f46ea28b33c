import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from knownat.scoring.metrics import auc, compare_paired, intervals, measure, weigh


def answers(rows=500, *, seed=1):
    """Labels and scores with many ties."""
    dice = np.random.default_rng(seed)
    scores = dice.integers(1, 20, rows) / 21
    return (dice.random(rows) < scores).astype(float), scores


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("auc", reference.roc_auc_score),
        ("average_precision", reference.average_precision_score),
        ("log_loss", reference.log_loss),
        ("brier", reference.brier_score_loss),
        ("mae", reference.mean_absolute_error),
        ("rmse", reference.root_mean_squared_error),
    ],
)
def test_metrics_are_those_of_the_reference(metric, wanted):
    labels, scores = answers()
    assert measure(metric, labels, scores) == pytest.approx(wanted(labels, scores), abs=1e-12)


def test_multiclass_metrics_are_those_of_the_reference():
    dice = np.random.default_rng(2)
    scores = dice.dirichlet([1, 1, 1], 200)
    labels = dice.integers(0, 3, 200).astype(float)
    assert measure("log_loss", labels, scores) == pytest.approx(reference.log_loss(labels, scores))
    assert measure("accuracy", labels, scores) == reference.accuracy_score(labels, scores.argmax(axis=1))


def test_pinball_is_that_of_the_reference():
    dice = np.random.default_rng(3)
    labels, scores = dice.normal(size=(2, 100))
    wanted = reference.mean_pinball_loss(labels, scores, alpha=0.9)
    assert measure("pinball", labels, scores, quantile=0.9) == pytest.approx(wanted)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(rows):
    labels, scores = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], float)
    pairs = [(a > b) + (a == b) / 2 for a in scores[labels == 1] for b in scores[labels == 0]]
    if pairs:
        assert auc(labels, scores) == pytest.approx(np.mean(pairs), abs=1e-12)
    else:
        assert np.isnan(auc(labels, scores))


def test_ece_weighs_each_bin_by_its_rows():
    labels = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    scores = np.array([0.1, 0.1, 0.1, 0.95, 1.0])
    # The bin of 0.1 is off by 0.1 with three rows, the last one by 0.025 with two.
    assert measure("ece", labels, scores) == pytest.approx((3 * 0.1 + 2 * 0.025) / 5)


def test_perfect_certainty_has_a_finite_log_loss():
    assert measure("log_loss", np.array([1.0, 0.0]), np.array([1.0, 1.0])) < 40


def test_intervals_hold_the_value_and_repeat_themselves():
    labels, scores = answers(2_000)
    blocks = np.arange(2_000)
    first = intervals(["auc", "ece"], labels, scores, blocks=blocks)
    assert first == intervals(["auc", "ece"], labels, scores, blocks=blocks)
    assert first["auc"].low < first["auc"].value < first["auc"].high
    assert first["auc"].value == auc(labels, scores)
    # About the standard error of Hanley and McNeil for so many rows.
    assert 0.02 < first["auc"].high - first["auc"].low < 0.08


def test_days_that_go_wrong_together_widen_the_interval():
    dice = np.random.default_rng(4)
    days = np.repeat(np.arange(60), 50)
    labels = dice.normal(size=60)[days] + 0.1 * dice.normal(size=3_000)
    by_day = intervals(["mae"], labels, np.zeros(3_000), blocks=days)["mae"]
    by_row = intervals(["mae"], labels, np.zeros(3_000), blocks=np.arange(3_000))["mae"]
    assert by_day.high - by_day.low > 4 * (by_row.high - by_row.low)


def test_an_undefined_metric_is_nan_and_no_number():
    found = intervals(["auc"], np.ones(30), np.linspace(0, 1, 30), blocks=np.arange(30))["auc"]
    assert np.isnan([found.value, found.low, found.high]).all()


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("auc", reference.roc_auc_score),
        ("average_precision", reference.average_precision_score),
        ("log_loss", reference.log_loss),
        ("brier", reference.brier_score_loss),
        ("mae", reference.mean_absolute_error),
        ("rmse", reference.root_mean_squared_error),
    ],
)
def test_weighted_metrics_are_those_of_the_reference(metric, wanted):
    labels, scores = answers()
    weights = np.random.default_rng(6).integers(0, 4, len(labels)).astype(float)
    found = weigh(metric, labels, scores)(weights)
    assert found == pytest.approx(wanted(labels, scores, sample_weight=weights), rel=1e-9)


def test_a_calibrated_score_has_little_calibration_error():
    dice = np.random.default_rng(7)
    scores = dice.random(50_000)
    labels = (dice.random(50_000) < scores).astype(float)
    assert measure("ece", labels, scores) < 0.01
    assert measure("ece", labels, scores / 2) == pytest.approx(0.25, abs=0.01)


def test_two_scores_of_the_same_rows_are_compared_on_the_same_draws():
    dice = np.random.default_rng(8)
    labels = np.repeat(dice.normal(size=60), 50)  # days that go wrong together
    days = np.repeat(np.arange(60), 50)
    near, far = (weigh("mae", labels, labels * share) for share in (0.1, 0.05))
    value, low, high = compare_paired(near, far, blocks=days)
    assert low < value < high < 0
    alone = intervals(["mae"], labels, labels * 0.1, blocks=days)["mae"]
    assert high - low < (alone.high - alone.low) / 5
    assert compare_paired(near, near, blocks=days) == (0.0, 0.0, 0.0)
