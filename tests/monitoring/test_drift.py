import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.contract.schema import Column
from monitoring.binning import count_rows, fit_bins
from monitoring.drift import DriftRules, measure_drift, noise_floor, psi

NUMBER = Column(name="orders__value", dtype="float64")
CITY = Column(name="profile__city", dtype="category", categories=("Athens", "Bergen"))
RULES = DriftRules(effect=0.2, min_rows=200, columns=100)

floats = st.one_of(st.none(), st.floats(allow_infinity=True, allow_nan=True, width=32))
texts = st.one_of(st.none(), st.sampled_from("abcdefghijklmnopqrstuvwxyz"))


def column(values, kind=None):
    return pa.chunked_array([pa.array(values, kind, from_pandas=True)])


def normal(rows, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, rows)


def drift_of(before, now, what=NUMBER, rules=RULES):
    return measure_drift(what, column(before), column(now), rules, importance=0.5)


@given(st.lists(floats, min_size=1), st.lists(floats))
def test_every_number_falls_into_one_bucket(before, now):
    bins = fit_bins(NUMBER, column(before, pa.float64()))

    counts = count_rows(bins, column(now, pa.float64()))

    assert counts.sum() == len(now)
    assert len(counts) == len(bins.labels)


@given(st.lists(texts), st.lists(texts))
def test_every_text_falls_into_one_bucket(before, now):
    bins = fit_bins(CITY, column(before, pa.string()))

    counts = count_rows(bins, column(now, pa.string()))

    assert counts.sum() == len(now)
    assert len(counts) == len(bins.labels)


@given(st.lists(st.integers(0, 500), min_size=2, max_size=12), st.randoms())
def test_psi_is_never_negative_and_does_not_care_which_side_is_which(counts, dice):
    before = np.array([*counts, 1])
    now = np.array(dice.sample([*counts, 1], len(counts) + 1))

    assert psi(before, now) >= -1e-12
    assert psi(before, now) == pytest.approx(psi(now, before))
    assert psi(before, before) == 0


def test_psi_of_known_shares():
    before, now = np.array([500_000, 500_000]), np.array([800_000, 200_000])

    assert psi(before, now) == pytest.approx(0.3 * np.log(1.6) - 0.3 * np.log(0.4), abs=0.003)


def test_random_halves_of_one_month_do_not_drift():
    for seed in range(40):
        month = normal(2_000, seed)
        assert not drift_of(month[::2], month[1::2]).drifted


def test_a_shift_drifts():
    found = drift_of(normal(5_000, 1), normal(1_000, 2, shift=0.6))

    assert found.drifted
    assert found.psi > 0.3
    assert found.mean_window - found.mean_baseline == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize("side", ["baseline", "window"])
def test_one_extreme_outlier_hides_no_shift(side):
    # Bins of equal width put everything but the outlier into one of them: PSI falls to nothing.
    before, now = normal(5_000, 1), normal(1_000, 2, shift=1.0)
    plain = drift_of(before, now).psi
    (before if side == "baseline" else now)[17] = 1e6

    assert drift_of(before, now).psi == pytest.approx(plain, rel=0.02)


def test_nulls_are_a_bucket_of_their_own():
    # Without it, the values that are left look as they always did.
    now = normal(2_000, 2)
    now[:1_800] = np.nan

    found = drift_of(normal(5_000, 1), now)

    assert found.drifted
    assert found.nulls_window == 0.9
    assert [b.window for b in found.buckets if b.label == "no value"] == [0.9]


def test_a_category_never_seen_drifts():
    found = drift_of(["Athens", "Bergen"] * 2_000, ["Athens", "Bergen", "Lagos"] * 300, what=CITY)

    assert found.drifted
    assert {b.label: round(b.window, 2) for b in found.buckets}["never seen"] == 0.33


def test_a_constant_that_became_another_constant_drifts():
    assert drift_of([1.0] * 1_000, [2.0] * 1_000).drifted
    assert not drift_of([1.0] * 1_000, [1.0] * 1_000).drifted


def test_too_few_rows_are_said_and_not_judged():
    found = drift_of(normal(5_000, 1), normal(199, 2, shift=3))

    assert found.psi is None
    assert not found.drifted
    assert found.note == "199 rows are too few to compare; 200 are needed"


@pytest.mark.parametrize("rows", [200, 1_000, 5_000])
def test_chance_alone_stays_below_the_noise_floor(rows):
    # A fixed threshold flags most columns at 100 rows; the floor holds one in a hundred windows.
    random = np.random.default_rng(rows)
    above = 0
    for _ in range(500):
        before, now = (random.multinomial(n, [0.1] * 10) for n in (10_000, rows))
        above += psi(before, now) > noise_floor(before, now, columns=1)

    assert 0 <= above <= 15


def test_the_threshold_is_the_effect_or_the_noise_whichever_is_larger():
    few = DriftRules(effect=0.05, min_rows=50, columns=100)

    assert drift_of(normal(5_000, 1), normal(100, 2), rules=few).threshold > 0.25
    assert drift_of(normal(5_000, 1), normal(100_000, 2), rules=few).threshold == 0.05
