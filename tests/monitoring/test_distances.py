"""Distances from counts alone, against Evidently's and SciPy's of every row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.contract.schema import Column
from monitoring.distances import jensen_shannon, mean_of, psi, psi_of_each, scale_of, wasserstein
from tests.monitoring.seen import profiles

pytestmark = pytest.mark.xdist_group("evidently")

NUMBER = Column(name="a__b", dtype="float64")
CITY = Column(name="a__c", dtype="category", categories=())
AGREES = 0.003

random = np.random.default_rng(3)
SHAPES = {
    "normal": lambda n: random.normal(50, 8, n),
    "lognormal": lambda n: random.lognormal(size=n),
    "mostly zero": lambda n: np.where(random.random(n) < 0.7, 0.0, random.exponential(9, n)),
    "few values": lambda n: random.poisson(3, n).astype(float),
    "many integers": lambda n: random.poisson(3_000, n).astype(float),
    "two humps": lambda n: np.where(random.random(n) < 0.5, random.normal(0, 1, n), random.normal(9, 1, n)),
    "flag": lambda n: (random.random(n) < 0.3).astype(float),
}


def held(column, before, now):
    reference, window = profiles(column, before, now)
    return reference.held, window.held


def evidently(method, before, now):
    import pandas as pd
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    kind = ColumnType.Categorical if isinstance(before[0], str) else ColumnType.Numerical
    sides = pd.Series(before), pd.Series(now)
    return get_stattest(*sides, kind, method).func(*sides, kind, 0.1)[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1_000, 20_000])
@pytest.mark.parametrize("thinned", [False, True], ids=["same", "thinned"])
def test_wasserstein_is_evidentlys(shape, rows, thinned):
    before, now = SHAPES[shape](20_000), SHAPES[shape](rows)
    if thinned:
        # Another mix of values that the reference had: what production does.
        now = now[random.random(rows) < np.where(now > np.median(before), 1.0, 0.5)]

    assert wasserstein(*held(NUMBER, before, now)) == pytest.approx(
        evidently("wasserstein", before, now), abs=AGREES
    )


@pytest.mark.parametrize("shape", ["normal", "lognormal", "two humps"])
@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_wasserstein_of_a_shift_is_evidentlys(shape, shift):
    before = SHAPES[shape](20_000)
    now = SHAPES[shape](5_000) + shift * before.std()

    assert wasserstein(*held(NUMBER, before, now)) == pytest.approx(
        evidently("wasserstein", before, now), abs=AGREES
    )


@pytest.mark.parametrize("rows", [500, 20_000])
def test_names_agree_with_evidently(rows):
    cities = np.array(["Athens", "Bergen", "Cork", "Dijon"])
    before = random.choice(cities, 20_000, p=[0.4, 0.3, 0.2, 0.1]).tolist()
    now = random.choice([*cities, "Essen"], rows, p=[0.3, 0.3, 0.15, 0.15, 0.1]).tolist()

    assert jensen_shannon(*held(CITY, before, now)) == pytest.approx(
        evidently("jensenshannon", before, now), abs=1e-12
    )


def test_psi_of_names_agrees_with_evidently():
    from knownat.contract.buckets import Buckets

    cities = np.array(["Athens", "Bergen", "Cork", "Dijon"])
    before = random.choice(cities, 20_000, p=[0.4, 0.3, 0.2, 0.1]).tolist()
    now = random.choice(cities, 8_000, p=[0.3, 0.35, 0.15, 0.2]).tolist()
    reference, window = profiles(CITY, before, now)
    buckets = Buckets.of(reference)

    ours = psi(buckets.collapse(reference), buckets.collapse(window))
    assert ours == pytest.approx(evidently("psi", before, now), abs=AGREES)


def test_where_evidently_is_blinded_by_an_outlier_we_are_not():
    from knownat.contract.buckets import Buckets

    before, now = random.normal(size=20_000), random.normal(1, 1, 20_000)
    now[7] = 1e6
    reference, window = profiles(NUMBER, before, now)
    buckets = Buckets.of(reference)

    # Bins of equal width put everything but the outlier into one of them.
    assert evidently("psi", before, now) < 0.1
    assert psi(buckets.collapse(reference), buckets.collapse(window)) > 0.8


floats = st.floats(-1e6, 1e6)


@given(st.lists(floats, min_size=2, max_size=40), st.lists(floats, min_size=1, max_size=40))
def test_wasserstein_of_few_values_is_exact(before, now):
    # Every value has a bucket of its own as long as there are few.
    from scipy.stats import wasserstein_distance

    reference = [*before, *now]
    one, two = held(NUMBER, reference, now)

    exact = wasserstein_distance(reference, now) / max(float(np.std(reference)), 0.001)
    assert wasserstein(one, two) == pytest.approx(exact, rel=1e-6, abs=1e-9)


def test_a_side_without_values_has_no_distance():
    assert wasserstein(*held(NUMBER, [1.0, 2.0], [np.nan, np.inf])) is None
    assert wasserstein(*held(NUMBER, [None], [1.0])) is None
    assert wasserstein(*held(NUMBER, [-1e308, 1e308], [1e308])) is None
    assert jensen_shannon(*held(CITY, ["a"], [None])) is None


@given(st.lists(st.integers(0, 500), min_size=2, max_size=12), st.randoms())
def test_psi_is_never_negative_and_does_not_care_which_side_is_which(counts, dice):
    before = np.array([*counts, 1])
    now = np.array(dice.sample([*counts, 1], len(counts) + 1))

    assert psi(before, now) >= -1e-12
    assert psi(before, now) == pytest.approx(psi(now, before))
    assert psi(before, before) == 0


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any), min_size=1, max_size=8))
def test_psi_of_many_windows_is_that_of_each(windows):
    before = np.array([5, 0, 3, 9])

    found = psi_of_each(before, np.array(windows))

    assert found.tolist() == pytest.approx([psi(before, np.array(window)) for window in windows])


def test_psi_of_known_shares():
    before, now = np.array([500_000, 500_000]), np.array([800_000, 200_000])

    assert psi(before, now) == pytest.approx(0.3 * np.log(1.6) - 0.3 * np.log(0.4), abs=0.003)


few = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(few, few)
def test_no_two_sides_are_nearer_than_their_means(before, now):
    reference, window = held(NUMBER, np.array(before), np.array(now))

    apart = abs(mean_of(reference) - mean_of(window)) / scale_of(reference)

    assert wasserstein(reference, window) >= apart * (1 - 1e-9) - 1e-9
