"""Profiles of made-up columns and windows, as the jobs see them."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from knownat.contract.profile import ColumnProfile, Layout
from knownat.contract.reference import as_observed
from knownat.contract.schema import Column
from monitoring.drift import DriftRules, measure_drift
from monitoring.faults import Seen
from monitoring.usual import NO_PAST
from monitoring.windows import Window
from tests.monitoring.shop_log import PLAN, SCHEMA, make_reference, make_spec

DAY = Window(datetime(2024, 6, 3, tzinfo=UTC), datetime(2024, 6, 3, tzinfo=UTC) + timedelta(days=1))


def table(column: Column, values) -> pa.Table:
    kind = pa.string() if column.dtype == "category" else pa.float64()
    return pa.table({column.name: pa.array(values, kind, from_pandas=True)})


def profiles(column: Column, before, now) -> tuple[ColumnProfile, ColumnProfile]:
    """Count two columns into the buckets of the first."""
    reference, window = table(column, before), table(column, now)
    layout = Layout.fit(reference, [column])
    found = [layout.count(side).columns[column.name] for side in (reference, window)]
    return found[0], found[1]


def drift_of(column: Column, before, now, rules: DriftRules, *, past=NO_PAST):
    return measure_drift(*profiles(column, before, now), rules, importance=0.5, past=past)


def see(window: pa.Table, baseline: pa.Table | None = None, *, reference=None, schema=SCHEMA, plan=PLAN):
    """Profile a window of the shop beside what its model was trained on."""
    found = reference or make_reference(baseline)
    profile = found.profile.layout.count(as_observed(window, plan))
    return Seen(schema, plan, found, profile, DAY, make_spec().monitoring)
