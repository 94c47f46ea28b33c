import numpy as np
import pytest

from monitoring.calibration import calibration_bins

random = np.random.default_rng(4)
SCORES = random.random(5_000)


def test_scores_that_mean_what_they_say_are_within_their_bounds():
    bins = calibration_bins((random.random(5_000) < SCORES).astype(float), SCORES)

    assert [b.rows for b in bins] == [500] * 10
    assert sum(b.low <= b.score <= b.high for b in bins) >= 8
    assert [b.score for b in bins] == pytest.approx(np.arange(0.05, 1, 0.1), abs=0.02)


def test_scores_that_say_too_much_are_above_theirs():
    bins = calibration_bins((random.random(5_000) < SCORES / 2).astype(float), SCORES)

    assert all(b.high < b.score for b in bins[2:])


def test_a_share_of_none_is_not_certain():
    (only,) = calibration_bins(np.zeros(40), np.full(40, 0.2))

    assert (only.rows, only.label, only.low) == (40, 0.0, 0.0)
    assert only.high == pytest.approx(0.0876, abs=1e-3)  # Wilson (1927) for 0 of 40


def test_numbers_have_bounds_of_their_own_mean():
    labels = 100 * SCORES + random.normal(size=5_000)
    bins = calibration_bins(labels, 100 * SCORES)

    assert sum(b.low <= b.score <= b.high for b in bins) >= 8
    assert all(b.high - b.low < 1 for b in bins)


def test_few_rows_and_scores_by_class_have_no_bins():
    assert calibration_bins(np.zeros(29), np.zeros(29)) == ()
    assert calibration_bins(np.zeros(100), np.zeros((100, 3))) == ()
    assert len(calibration_bins(np.zeros(60), np.arange(60.0))) == 2
