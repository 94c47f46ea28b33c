"""Chance alone does not alarm, and a shift that matters does: over columns of every shape.

A soak asks it of a month of flights, every feature of the model.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.profile import Layout, Profile
from knownat.contract.schema import Column
from monitoring.drift import DriftRules, measure_drift
from tests.monitoring.shop_log import make_spec
from tests.soak import SOAKING, scale

SPLITS = scale(12, 200)
EFFECT = make_spec().monitoring.psi_threshold


def _made_up(rows: int) -> pa.Table:
    random = np.random.default_rng(6)
    cities = np.array(["Athens", "Bergen", "Cork", "Dijon", "Essen"])
    return pa.table(
        {
            "normal": random.normal(50, 8, rows),
            "lognormal": random.lognormal(size=rows),
            "mostly_zero": np.where(random.random(rows) < 0.7, 0.0, random.exponential(9, rows)),
            "mostly_null": pa.array(
                np.where(random.random(rows) < 0.6, np.nan, random.normal(size=rows)), from_pandas=True
            ),
            "count": random.poisson(4, rows),
            "large_count": random.poisson(3_000, rows),
            "flag": random.random(rows) < 0.03,
            "minute_of_day": random.integers(300, 1_439, rows),
            "heavy_tail": random.pareto(1.5, rows),
            "two_humps": np.where(random.random(rows) < 0.5, random.normal(0, 1, rows), 9.0),
            "city": random.choice(cities, rows, p=[0.5, 0.3, 0.15, 0.04, 0.01]),
            "rare_city": random.choice([f"c{i}" for i in range(300)], rows, p=_falling(300)),
        }
    )


def _falling(count: int) -> np.ndarray:
    weight = 1 / np.arange(1, count + 1)
    return weight / weight.sum()


def july() -> pa.Table:
    """Return a month of flights as the model saw them."""
    from datetime import UTC, datetime

    from knownat.contract.log_reader import read_predictions
    from knownat.contract.release import read_release
    from tests.loop.flights_year import MODEL, VERSION, prepare_year

    workspace = prepare_year()
    start, end = (datetime(2013, month, 1, 4, tzinfo=UTC) for month in (7, 8))
    schema = read_release(workspace.releases / MODEL / VERSION).manifest.feature_schema
    return read_predictions(workspace.predictions, MODEL, start=start, end=end).select(list(schema.names))


@pytest.fixture(scope="module")
def month() -> pa.Table:
    return (july() if SOAKING else _made_up(28_000)).combine_chunks()


def columns_of(table: pa.Table) -> list[Column]:
    return [
        Column(name=f.name, dtype="category", categories=())
        if pa.types.is_string(f.type)
        else Column(name=f.name, dtype="float64")
        for f in table.schema
    ]


def drifted(before: pa.Table, now: pa.Table) -> Mapping[str, bool]:
    layout = Layout.fit(before, columns_of(before))
    return judged(layout.count(before), layout.count(now))


def judged(reference: Profile, window: Profile) -> Mapping[str, bool]:
    rules = DriftRules(effect=EFFECT, min_rows=100, columns=len(reference.columns))
    return {
        name: measure_drift(column, window.columns[name], rules, importance=0).drifted
        for name, column in reference.columns.items()
    }


def count_alarms(month: pa.Table, rows: int, *, splits: int) -> int:
    """Split a month by chance into two samples, again and again; count the columns that drifted."""
    random = np.random.default_rng(rows)
    rows = min(rows, month.num_rows // 2)
    alarms = 0
    for _ in range(splits):
        order = random.permutation(month.num_rows)
        alarms += sum(drifted(month.take(order[:rows]), month.take(order[rows : 2 * rows])).values())
    return alarms


def numbers_of(month: pa.Table) -> list[str]:
    """Name the number columns that have rows to shift: of a column that is mostly null, few are."""
    return [
        column.name
        for column in columns_of(month)
        if column.dtype == "float64"
        and month[column.name].null_count < month.num_rows / 3
        and np.nanstd(month[column.name].to_numpy()) > 0
    ]


def count_missed(month: pa.Table, *, splits: int) -> Mapping[str, int]:
    """Shift each number column of 1 000 rows by half a standard deviation; count what went unseen.

    Half of the month is what they are held against, the rows are drawn from the other half.
    """
    random, numbers = np.random.default_rng(1), numbers_of(month)
    order = random.permutation(month.num_rows)
    before, rest = (month.select(numbers).take(half) for half in np.array_split(order, 2))
    layout, by = Layout.fit(before, columns_of(before)), {}
    reference = layout.count(before)
    for name in numbers:
        by[name] = np.nanstd(before[name].to_numpy()) / 2
    missed = dict.fromkeys(numbers, 0)
    for _ in range(splits):
        now = rest.take(random.choice(rest.num_rows, 1_000, replace=False))
        window = layout.count(pa.table({name: now[name].to_numpy() + by[name] for name in numbers}))
        for name, flagged in judged(reference, window).items():
            missed[name] += not flagged
    return missed


@pytest.mark.parametrize("rows", [100, 1_000, 14_000])
def test_random_splits_of_a_month_do_not_alarm(month, rows):
    assert count_alarms(month, rows, splits=SPLITS) <= 0.01 * SPLITS * month.num_columns


def test_a_shift_of_half_a_standard_deviation_is_flagged(month):
    missed = count_missed(month, splits=SPLITS)

    assert {name: count for name, count in missed.items() if count > 0.05 * SPLITS} == {}
