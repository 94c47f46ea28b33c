from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.prediction_log import TIMESTAMP
from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan
from knownat.contract.reference import (
    PAST_TTL,
    History,
    Reference,
    as_observed,
    read_reference,
    write_reference,
)
from knownat.contract.release import HISTORY, PROFILE
from knownat.contract.schema import Column, FeatureSchema

START = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
VALUE, CITY = "orders__value", "profile__city"
SCHEMA = FeatureSchema(
    columns=(
        Column(name=VALUE, dtype="float64"),
        Column(name=CITY, dtype="category", categories=("Bern", "Rome")),
    )
)
KEY = PlanKey(view_key="c", request_key="c", dtype="int64")


def view(name, ttl):
    return PlanView(
        name=name,
        keys=(KEY,),
        ttl_us=ttl // timedelta(microseconds=1),
        features=(PlanFeature(name="x", dtype="float64"),),
    )


PLAN = ReadPlan(
    project="p",
    feature_service="s",
    views=(view("orders", HOUR), view("profile", timedelta(0))),
    output_columns=SCHEMA.names,
)


class Files:
    """Stands in for a release's checked files."""

    def __init__(self, path):
        self.path = path

    def read_bytes(self, name):
        return (self.path / name).read_bytes()


def rows(days=30, a_day=40):
    random = np.random.default_rng(4)
    n = days * a_day
    asked = [START + DAY * (i // a_day) + HOUR * (i % 24) for i in range(n)]
    table = {
        "event_timestamp": pa.array(asked, TIMESTAMP),
        VALUE: pa.array(np.where(random.random(n) < 0.1, np.nan, random.normal(size=n)), from_pandas=True),
        CITY: random.choice(["Bern", "Rome"], n),
    }
    for name in ("orders", "profile"):
        table[f"served__{name}__event_timestamp"] = pa.array([a - HOUR / 2 for a in asked], TIMESTAMP)
        table[f"served__{name}__status"] = pa.array(["present"] * n)
    return pa.table(table)


def scored(table):
    return pa.table(
        {
            "event_timestamp": table["event_timestamp"],
            "score": np.random.default_rng(5).random(table.num_rows),
        }
    )


def make(table):
    return Reference.of(table, scored(table.slice(400)), schema=SCHEMA, plan=PLAN, step=DAY)


def test_a_reference_survives_its_files(tmp_path):
    reference = make(rows())

    write_reference(reference, tmp_path)
    found = read_reference(Files(tmp_path))

    assert found.profile == reference.profile
    assert {p.name for p in tmp_path.iterdir()} == {PROFILE, HISTORY}
    assert (found.history.first_us, found.history.step_us) == (1_704_067_200_000_000, 86_400_000_000)
    assert found.history.counts.keys() == reference.history.counts.keys()
    for name, steps in found.history.counts.items():
        assert np.array_equal(steps, reference.history.counts[name])
    assert found.history.ranges.keys() == reference.history.ranges.keys()
    for name, ends in found.history.ranges.items():
        assert np.array_equal(ends, reference.history.ranges[name], equal_nan=True)


def test_everything_a_window_is_judged_by_is_profiled():
    reference = make(rows())

    views = [f"{what}__{name}" for name in ("orders", "profile") for what in ("served", "age")]
    named = [f"{name}__status" if name.startswith("served") else name for name in views]
    assert list(reference.profile.columns) == [VALUE, CITY, *named, "score"]
    assert reference.profile.rows == 1_200
    # Scores are of rows the model was not fitted to.
    assert reference.profile.columns["score"].values == 800
    assert reference.profile.columns["age__orders"].held.quantile(0.5) == 1_800


def test_the_steps_of_a_history_add_up_to_the_profile():
    from knownat.contract.buckets import Buckets

    reference = make(rows())

    for name, column in reference.profile.columns.items():
        steps = reference.history.counts[name]
        assert steps.sum(axis=0).tolist() == Buckets.of(column).collapse(column).tolist()
        assert len(steps) == 30
    assert set(reference.history.counts[VALUE].sum(axis=1).tolist()) == {40}
    assert reference.history.counts["score"].sum(axis=1).tolist() == [0] * 10 + [40] * 20


@pytest.mark.parametrize(("length", "windows", "each"), [(DAY, 30, 40), (7 * DAY, 24, 280), (HOUR, 30, 40)])
def test_past_windows_have_any_length(length, windows, each):
    found = make(rows()).history.windows(VALUE, length)

    assert found.sum(axis=1).tolist() == [each] * windows


def test_windows_that_stood_still_are_known():
    table = rows(days=4)
    values = np.r_[np.full(80, 3.0), np.full(40, 4.0), np.full(39, np.nan), [np.inf]]
    place = table.column_names.index(VALUE)
    history = Reference.of(
        table.set_column(place, VALUE, pa.array(values)), scored(table), schema=SCHEMA, plan=PLAN, step=DAY
    ).history

    assert history.stand_still(VALUE, DAY).tolist() == [True, True, True, False]
    assert history.stand_still(VALUE, 2 * DAY).tolist() == [True, False, True]
    assert history.stand_still(CITY, DAY).tolist() == []


def test_a_history_shorter_than_a_window_has_none():
    history = make(rows()).history

    assert len(history.windows(VALUE, 31 * DAY)) == 0
    assert len(history.windows("nobody__knows", DAY)) == 0
    assert len(History(0, 1, {}, {}).windows(VALUE, DAY)) == 0


@pytest.mark.parametrize(
    ("age", "status", "expected"),
    [
        (HOUR, "present", "present"),
        (HOUR + timedelta(microseconds=1), "present", PAST_TTL),
        (2 * HOUR, "expired", "expired"),
        (None, "not_found", "not_found"),
    ],
)
def test_a_row_served_a_microsecond_past_its_ttl_is_named(age, status, expected):
    table = pa.table(
        {
            "event_timestamp": pa.array([START], TIMESTAMP),
            "served__orders__event_timestamp": pa.array([None if age is None else START - age], TIMESTAMP),
            "served__orders__status": [status],
        }
    )

    seen = as_observed(table, PLAN)

    assert seen["served__orders__status"].to_pylist() == [expected]
    assert seen["age__orders"].to_pylist() == [None if age is None else age.total_seconds()]
    assert "age__profile" not in seen.column_names


def test_a_view_without_a_ttl_never_outlives_it():
    table = rows(days=1)
    late = pa.array([START - 999 * DAY] * 40, TIMESTAMP)
    place = table.column_names.index("served__profile__event_timestamp")

    seen = as_observed(table.set_column(place, "served__profile__event_timestamp", late), PLAN)

    assert set(seen["served__profile__status"].to_pylist()) == {"present"}
