import numpy as np

from knownat.contract.schema import Column
from monitoring.surrogates import POINTS, surrogate
from tests.monitoring.seen import profiles, table

NUMBER = Column(name="a__b", dtype="float64")
CITY = Column(name="a__c", dtype="category", categories=("x", "y"))


def picked(values, baseline=None, column=NUMBER):
    before, now = profiles(column, values if baseline is None else baseline, values)
    return surrogate(column.name, now, table(column, values)[column.name], reference=before)


def test_a_stand_in_has_the_shape_of_the_whole():
    values = np.random.default_rng(1).lognormal(size=100_000)
    levels = np.linspace(0.01, 0.99, 99)

    share_below = [np.mean(values <= q) for q in np.quantile(picked(values), levels)]

    # A random sample of as many points misses by two percent somewhere.
    assert np.max(np.abs(share_below - levels)) < 0.001


def test_nulls_keep_their_share():
    values = np.where(np.arange(100_000) % 4 == 0, np.nan, 1.0)

    assert np.isnan(picked(values)).mean() == 0.25


def test_few_rows_stay_as_they_are():
    assert [None if np.isnan(v) else v for v in picked([3.0, 1.0, None, 2.0])] == [3.0, 1.0, None, 2.0]
    assert len(picked(np.arange(POINTS))) == POINTS
    assert len(picked(np.arange(POINTS + 1.0))) == POINTS


def test_points_stay_in_order_of_time():
    rising = np.arange(50_000.0)

    assert np.all(np.diff(picked(rising)) > 0)
    assert np.all(np.diff(picked(rising[::-1])) < 0)


def test_one_extreme_value_does_not_flatten_the_chart():
    drawn = picked([*np.linspace(0, 1, 99), 1e6, np.inf], baseline=np.linspace(0, 1, 100))

    assert np.nanmax(drawn) == 2.0
    assert np.isnan(drawn).sum() == 1


def test_names_keep_their_shares():
    texts = ["x", "y", "x", None] * 5_000

    drawn = picked(texts, column=CITY)

    assert [list(drawn).count(name) / len(drawn) for name in ("x", "y", None)] == [0.5, 0.25, 0.25]
