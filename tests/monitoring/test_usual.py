"""Windows held against windows of their own length: a day is not a year of independent rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.model_spec import ModelSpec
from knownat.contract.read_plan import PlanFeature, PlanView, ReadPlan
from knownat.contract.reference import History, Reference
from knownat.contract.schema import Column, FeatureSchema
from monitoring.drift import DriftRules, measure_drift
from monitoring.faults import find_faults
from monitoring.performance import usual_metrics
from monitoring.summary import FaultKind
from monitoring.usual import NO_PAST, Past, rows_by_window
from monitoring.windows import Window
from tests.monitoring.seen import DAY, see
from tests.monitoring.shop_log import make_spec

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, ROWS_A_DAY = 120, 50
RULES = DriftRules(effect=0.2, min_rows=200, columns=10)
random = np.random.default_rng(8)

WEEKDAY = Column(name="calendar__weekday", dtype="int64")
TEMPERATURE = Column(name="weather__temperature_c", dtype="float64")
GUST = Column(name="weather__gust_kt", dtype="float64")


def days_of(rows_a_day, days, mean):
    """Rows of whole days: one weekday each, a temperature of its own, gusts on every fourth day."""
    day = np.repeat(np.arange(days), rows_a_day)
    mean = np.asarray(mean)[day]
    gusts = np.where(day % 4 == 0, 20 + random.normal(size=len(day)), np.nan)
    return pa.table(
        {
            "event_timestamp": [FIRST + timedelta(days=int(d), minutes=m % 1_440) for m, d in enumerate(day)],
            WEEKDAY.name: day % 7,
            TEMPERATURE.name: mean + random.normal(size=len(day)),
            GUST.name: pa.array(gusts, from_pandas=True),
        }
    )


SCHEMA = FeatureSchema(columns=(WEEKDAY, TEMPERATURE, GUST))
VIEW = PlanView(name="calendar", keys=(), ttl_us=0, features=(PlanFeature(name="weekday", dtype="int64"),))
PLAN = ReadPlan(project="p", feature_service="s", views=(VIEW,), output_columns=())


def reference_of(rows, schema=SCHEMA):
    scored = rows.select(["event_timestamp"]).append_column("score", pa.array(np.zeros(rows.num_rows)))
    return Reference.of(rows, scored, schema=schema, plan=PLAN, step=timedelta(days=1))


BASELINE = days_of(ROWS_A_DAY, DAYS, random.normal(10, 6, DAYS))
REFERENCE = reference_of(BASELINE)


def one_day(temperature=12.0):
    return days_of(800, 1, [temperature])


def drift_of(column, window, *, known=True, reference=REFERENCE):
    past = Past.of(reference.history, column.name, DAY) if known else NO_PAST
    now = reference.profile.layout.count(window).columns[column.name]
    return measure_drift(reference.profile.columns[column.name], now, RULES, importance=1, past=past)


def faults_of(window, *, known=True):
    history = REFERENCE.history if known else History(0, 1, {}, {})
    reference = Reference(REFERENCE.profile, history)
    found = see(window.drop(["event_timestamp"]), reference=reference, schema=SCHEMA, plan=PLAN)
    return {fault.subject for fault in find_faults(found)}


def test_past_windows_are_days():
    past = Past.of(REFERENCE.history, TEMPERATURE.name, DAY)

    assert len(past) == DAYS
    assert set(past.counts.sum(axis=1).tolist()) == {ROWS_A_DAY}


def test_too_few_past_windows_are_none():
    long = Window(FIRST, FIRST + timedelta(days=DAYS - 10))

    assert len(Past.of(REFERENCE.history, TEMPERATURE.name, long)) == 0
    assert len(Past.of(REFERENCE.history, "nobody__knows", DAY)) == 0
    assert len(Past.of(reference_of(BASELINE.slice(0, 0)).history, TEMPERATURE.name, DAY)) == 0


def test_rows_are_cut_in_step_with_the_judged_window():
    for start in (DAY.start, DAY.start + timedelta(hours=12)):
        groups = rows_by_window(BASELINE, Window(start, start + timedelta(days=1)))
        assert len(groups) > 100
        for rows in groups:
            asked = [BASELINE["event_timestamp"][int(row)].as_py() - (start - DAY.start) for row in rows]
            assert {moment.date() for moment in asked} == {asked[0].date()}
    assert rows_by_window(BASELINE.drop(["event_timestamp"]), DAY) == ()
    assert rows_by_window(BASELINE.slice(0, 900), DAY) == ()


@pytest.mark.parametrize("column", [WEEKDAY, TEMPERATURE], ids=lambda column: column.name)
def test_a_usual_day_does_not_drift_from_a_year(column):
    assert drift_of(column, one_day(), known=False).drifted
    assert not drift_of(column, one_day()).drifted


def test_a_day_beyond_all_others_is_a_fault():
    # Its PSI is that of any day within one decile: of how far beyond it says nothing.
    assert not drift_of(TEMPERATURE, one_day(90.0)).drifted
    assert faults_of(one_day(90.0)) == {TEMPERATURE.name}


def test_a_steady_column_keeps_its_threshold():
    # Days of fifty rows differ by chance; that is taken off before a day of 800 is held against them.
    steady = FeatureSchema(columns=(TEMPERATURE,))
    rows = BASELINE.set_column(2, TEMPERATURE.name, pa.array(random.normal(size=BASELINE.num_rows)))
    reference = reference_of(rows, steady)

    def judge(shift):
        now = pa.table({TEMPERATURE.name: random.normal(shift, 1, 800)})
        return drift_of(TEMPERATURE, now, reference=reference)

    assert judge(0.7).threshold == RULES.effect
    assert judge(0.7).drifted
    assert not judge(0.0).drifted


def test_what_days_show_now_and_then_is_no_fault():
    calm = one_day().set_column(3, GUST.name, pa.nulls(800, pa.float64()))

    assert faults_of(calm, known=False) == {WEEKDAY.name, GUST.name}
    assert faults_of(calm) == set()


def test_what_no_day_showed_is_a_fault():
    broken = one_day().set_column(2, TEMPERATURE.name, pa.nulls(800, pa.float64()))
    stuck = one_day().set_column(2, TEMPERATURE.name, pa.array([12.0] * 800))

    assert faults_of(broken) == {TEMPERATURE.name}
    assert faults_of(stuck) == {TEMPERATURE.name}


def test_a_metric_of_single_days_varies_more_than_that_of_all():
    # Each day has a level of its own that the score knows; within a day the score says less.
    day = np.repeat(np.arange(DAYS), 100)
    level = random.normal(size=DAYS)[day]
    label = (level + random.normal(size=len(day)) > 0).astype(np.float64)
    holdout = pa.table(
        {
            "event_timestamp": [FIRST + timedelta(days=int(d), minutes=i % 1_440) for i, d in enumerate(day)],
            "label": label,
            "score": 1 / (1 + np.exp(-level - 0.1 * random.normal(size=len(day)))),
        }
    )
    spec: ModelSpec = make_spec()

    usual = usual_metrics(spec, holdout, DAY)

    assert set(usual) == {"auc", "average_precision", "log_loss", "brier", "ece"}
    assert usual["auc"].low < 0.5 < usual["auc"].high < 0.75
    assert usual_metrics(spec, holdout.drop(["event_timestamp"]), DAY) == {}
    unknown = holdout.set_column(1, "label", pa.nulls(len(day), pa.float64()))
    assert usual_metrics(spec, pa.concat_tables([holdout, unknown]), DAY) == usual


def test_a_column_that_doubles_from_day_to_day_has_no_new_unit():
    # Seven tenths more is a change of unit for what is steady, and a bad day for what is not.
    level = np.exp(random.normal(0, 0.5, DAYS))
    day, gamma = np.arange(BASELINE.num_rows) // ROWS_A_DAY, random.gamma(4, 1, BASELINE.num_rows)
    schema = FeatureSchema(columns=(TEMPERATURE,))

    def units(per_day):
        rows = BASELINE.set_column(2, TEMPERATURE.name, pa.array(per_day[day] * gamma))
        now = pa.table(
            {TEMPERATURE.name: 1.609344 * random.choice(per_day, 2_000) * random.gamma(4, 1, 2_000)}
        )
        found = see(now, reference=reference_of(rows, schema), schema=schema, plan=PLAN)
        return [fault.kind for fault in find_faults(found)]

    assert units(np.ones(DAYS)) == [FaultKind.UNIT_CHANGED]
    assert units(level) == []


def test_weather_that_stayed_the_same_nearly_all_of_some_past_day_may_do_so_all_of_one():
    clear = np.where(np.arange(BASELINE.num_rows) % 3 == 0, random.uniform(0, 9, BASELINE.num_rows), 10.0)
    one_clear_day = np.where(np.arange(BASELINE.num_rows) // 50 == 17, 10.0, clear)
    one_clear_day[17 * 50] = 9.0
    schema, now = FeatureSchema(columns=(TEMPERATURE,)), pa.table({TEMPERATURE.name: [10.0] * 800})

    def faults_after(values):
        rows = BASELINE.set_column(2, TEMPERATURE.name, pa.array(values))
        return find_faults(see(now, reference=reference_of(rows, schema), schema=schema, plan=PLAN))

    assert [fault.kind for fault in faults_after(clear)] == [FaultKind.CONSTANT]
    assert faults_after(one_clear_day) == []
