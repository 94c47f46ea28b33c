import numpy as np
import pytest

from knownat.contract.schema import Column
from monitoring.distances import psi
from monitoring.drift import DriftRules, noise_floor
from tests.monitoring import seen

NUMBER = Column(name="orders__value", dtype="float64")
CITY = Column(name="profile__city", dtype="category", categories=("Athens", "Bergen"))
RULES = DriftRules(effect=0.2, min_rows=200, columns=100)


def normal(rows, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, rows)


def drift_of(before, now, what=NUMBER, rules=RULES):
    return seen.drift_of(what, before, now, rules)


def test_random_halves_of_one_month_do_not_drift():
    for seed in range(40):
        month = normal(2_000, seed)
        assert not drift_of(month[::2], month[1::2]).drifted


def test_a_shift_drifts():
    found = drift_of(normal(5_000, 1), normal(1_000, 2, shift=0.6))

    assert found.drifted
    assert found.psi > 0.3
    assert found.distance == pytest.approx(0.6, abs=0.1)


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


def test_what_moved_is_said_in_the_columns_own_unit():
    minutes = np.random.default_rng(1).normal(4, 3, 5_000)

    assert drift_of(minutes, minutes + 15).moved == "p50 3.92 → 18.9"
    assert drift_of(minutes, minutes).moved == ""
    # Half of the values stay what they were: the upper end moved.
    late = np.where(minutes > 6, minutes * 3, minutes)
    assert drift_of(minutes, late).moved.startswith("p90 7.79 → 23")
    # No quantile can have moved where there was none: what moved is how many rows have a value.
    assert drift_of([None] * 500, minutes).moved == "no value 100% → 0%"


def test_what_moved_carries_the_unit_of_its_name():
    minutes = np.random.default_rng(1).normal(4, 3, 5_000)
    delay = Column(name="departures__delay_mean_min_3h", dtype="float64")

    assert drift_of(minutes, minutes + 15, what=delay).moved == "p50 3.92 → 18.9 min"


def test_what_moved_of_names_is_the_share_that_changed_most():
    found = drift_of(["Athens", "Bergen"] * 500, ["Athens"] * 900 + ["Bergen"] * 100, what=CITY)

    assert found.moved in {"'Athens' 50% → 90%", "'Bergen' 50% → 10%"}
    assert drift_of(["Athens"] * 500, ["Athens"] * 300, what=CITY).moved == ""


def test_a_column_that_cannot_be_compared_says_why():
    from knownat.contract.profile import Layout
    from monitoring.drift import measure_drift

    reference = seen.table(NUMBER, normal(500, 1))
    layout = Layout.fit(reference, [NUMBER])
    before = layout.count(reference).columns[NUMBER.name]
    lacking = layout.count(seen.table(CITY, ["x"] * 300)).columns[NUMBER.name]
    text = layout.count(seen.table(CITY, ["x"] * 300).rename_columns([NUMBER.name])).columns[NUMBER.name]

    notes = [measure_drift(before, now, RULES, importance=0).note for now in (lacking, text)]
    assert notes == ["the column is missing", "300 rows hold string"]
