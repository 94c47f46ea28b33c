"""Faults put into a window on purpose: each is found by its name, and nothing beside it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.prediction_log import TIMESTAMP
from monitoring.faults import find_faults
from monitoring.summary import FaultKind
from tests.monitoring.seen import DAY, see
from tests.monitoring.shop_log import PLAN, SCHEMA, make_features, make_reference
from tests.soak import scale

SEEDS = range(scale(8, 100))
ROWS = 600
NUMBERS = ("orders__order_value_eur_30d", "orders__order_count_30d", "profile__age_days")
CITY = "profile__city"
VIEWS = ("orders", "profile")
HOUR = timedelta(hours=1)
REFERENCE = make_reference(make_features(6_000, seed=1))
TTL_PLAN = PLAN.model_copy(
    update={"views": tuple(v.model_copy(update={"ttl_us": 6 * 3_600_000_000}) for v in PLAN.views)}
)

Expected = set[tuple[FaultKind, str]]


@dataclass
class Window:
    """A window's columns, which a fault changes."""

    columns: dict[str, pa.Array]
    random: np.random.Generator

    @classmethod
    def usual(cls, seed: int) -> "Window":
        random = np.random.default_rng(seed)
        features = make_features(ROWS, seed=1_000 + seed)
        asked = [DAY.start + timedelta(minutes=2 * i) for i in range(ROWS)]
        columns = {name: features[name].combine_chunks() for name in features.column_names}
        columns["event_timestamp"] = pa.array(asked, TIMESTAMP)
        for view in VIEWS:
            ages = random.exponential(600, ROWS).tolist()
            when = [a - timedelta(seconds=s) for a, s in zip(asked, ages, strict=True)]
            columns[f"served__{view}__event_timestamp"] = pa.array(when, TIMESTAMP)
            columns[f"served__{view}__status"] = pa.array(["present"] * ROWS)
        return cls(columns, random)

    def numbers(self, name: str) -> np.ndarray:
        return self.columns[name].to_numpy(zero_copy_only=False).astype(np.float64)

    def any_of(self, names: Iterable[str]) -> str:
        return str(self.random.choice(list(names)))

    def age(self, view: str, by: timedelta, *, only: float = 1.0) -> None:
        name = f"served__{view}__event_timestamp"
        old = self.random.random(ROWS) < only
        when = self.columns[name].to_pylist()
        self.columns[name] = pa.array([w - by if o else w for w, o in zip(when, old, strict=True)], TIMESTAMP)


def all_null(window: Window) -> Expected:
    name = window.any_of(SCHEMA.names)
    window.columns[name] = pa.nulls(ROWS, window.columns[name].type)
    return {(FaultKind.ALL_NULL, name)}


def a_third_null(window: Window) -> Expected:
    name = window.any_of(SCHEMA.names)
    lost = window.random.random(ROWS) < 0.3
    values = window.columns[name].to_pylist()
    window.columns[name] = pa.array(
        [None if gone else value for gone, value in zip(lost, values, strict=True)],
        window.columns[name].type,
    )
    return {(FaultKind.MORE_NULLS, name)}


def missing_column(window: Window) -> Expected:
    name = window.any_of(SCHEMA.names)
    del window.columns[name]
    return {(FaultKind.MISSING_COLUMN, name)}


def one_infinity(window: Window) -> Expected:
    name = window.any_of(NUMBERS)
    values = window.numbers(name)
    values[window.random.integers(ROWS)] = window.random.choice([np.inf, -np.inf])
    window.columns[name] = pa.array(values, from_pandas=True)
    return {(FaultKind.INFINITE, name)}


def one_outlier(window: Window) -> Expected:
    name = window.any_of(NUMBERS)
    values = window.numbers(name)
    values[window.random.integers(ROWS)] = window.random.choice([1e6, -1e6])
    window.columns[name] = pa.array(values, from_pandas=True)
    return {(FaultKind.OUT_OF_RANGE, name)}


def sixty_times(window: Window) -> Expected:
    name = window.any_of(NUMBERS)
    window.columns[name] = pa.array(window.numbers(name) * 60, from_pandas=True)
    return {(FaultKind.UNIT_CHANGED, name)}


def renamed_category(window: Window) -> Expected:
    old = window.any_of(["Athens", "Bergen", "Cork", "Dijon"])
    values = window.columns[CITY].to_pylist()
    window.columns[CITY] = pa.array([v.upper() if v == old else v for v in values])
    return {(FaultKind.NEW_CATEGORIES, CITY)}


def swapped_columns(window: Window) -> Expected:
    one, two = (str(name) for name in window.random.choice(NUMBERS, 2, replace=False))
    columns = window.columns
    columns[one], columns[two] = (pa.array(window.numbers(n), from_pandas=True) for n in (two, one))
    return {(FaultKind.SWAPPED, one), (FaultKind.SWAPPED, two)}


def stale_view(window: Window) -> Expected:
    view = window.any_of(VIEWS)
    # Not so old that its rows expire.
    window.age(view, HOUR * window.random.uniform(2, 4))
    return {(FaultKind.STALE, view)}


def dead_view(window: Window) -> Expected:
    view = window.any_of(VIEWS)
    window.columns[f"served__{view}__status"] = pa.array(["not_found"] * ROWS)
    window.columns[f"served__{view}__event_timestamp"] = pa.nulls(ROWS, TIMESTAMP)
    for feature in next(v for v in PLAN.views if v.name == view).features:
        name = f"{view}__{feature.name}"
        window.columns[name] = pa.nulls(ROWS, window.columns[name].type)
    nulls = {(FaultKind.ALL_NULL, n) for n in SCHEMA.names if n.startswith(view)}
    return {(FaultKind.NOT_FOUND, view), *nulls}


def ttl_ignored(window: Window) -> Expected:
    view = window.any_of(VIEWS)
    window.age(view, HOUR * 7, only=0.2)
    return {(FaultKind.PAST_TTL, view)}


def nothing(window: Window) -> Expected:
    return set()


INJECTIONS: list[Callable[[Window], Expected]] = [
    nothing,
    all_null,
    a_third_null,
    missing_column,
    one_infinity,
    one_outlier,
    sixty_times,
    renamed_category,
    swapped_columns,
    stale_view,
    dead_view,
    ttl_ignored,
]


@pytest.mark.parametrize("inject", INJECTIONS, ids=lambda inject: inject.__name__)
def test_an_injected_fault_is_found_and_nothing_beside_it(inject):
    for seed in SEEDS:
        window = Window.usual(seed)
        expected = inject(window)

        faults = find_faults(see(pa.table(window.columns), reference=REFERENCE, plan=TTL_PLAN))

        assert {(fault.kind, fault.subject) for fault in faults} == expected, f"seed {seed}"


def test_rows_six_hours_late_are_found_where_no_ttl_would_refuse_them():
    for seed in SEEDS:
        window = Window.usual(seed)
        view = window.any_of(VIEWS)
        window.age(view, 6 * HOUR)

        faults = find_faults(see(pa.table(window.columns), reference=REFERENCE, plan=PLAN))

        assert [(fault.kind, fault.subject) for fault in faults] == [(FaultKind.STALE, view)], f"seed {seed}"
