from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.prediction_log import TIMESTAMP
from monitoring.faults import find_faults
from monitoring.ranges import known_bounds
from monitoring.summary import FaultKind, Level
from monitoring.views import statuses
from tests.monitoring.seen import DAY, profiles, see
from tests.monitoring.shop_log import PLAN, SCHEMA, make_features, make_reference

VALUE, COUNT, CITY = "orders__order_value_eur_30d", "orders__order_count_30d", "profile__city"
ROWS = 1_000
BASELINE = make_features(6_000, seed=1)
REFERENCE = make_reference(BASELINE)


def logged(**columns):
    """A window's rows, with some columns replaced, added or (None) left out."""
    table = make_features(ROWS, seed=2)
    for view in PLAN.views:
        name = f"served__{view.name}__status"
        table = table.append_column(name, pa.array(columns.pop(name, ["present"] * ROWS)))
    for name, values in columns.items():
        if name in table.column_names:
            table = table.drop([name])
        if values is not None:
            table = table.append_column(name, values)
    return table


def faults_of(window):
    return {(fault.kind, fault.subject): fault for fault in find_faults(see(window, reference=REFERENCE))}


def only(window):
    (fault,) = faults_of(window).values()
    return fault


def values(**changed):
    array = make_features(ROWS, seed=2)[VALUE].to_numpy().copy()
    for place, value in changed.items():
        array[int(place.removeprefix("row"))] = value
    return pa.array(array)


def test_a_usual_window_has_no_fault():
    assert faults_of(logged()) == {}


def test_an_empty_window_is_one_fault():
    assert only(logged().slice(0, 0)).kind is FaultKind.EMPTY_WINDOW


@pytest.mark.parametrize("kind", [pa.float64(), pa.null()], ids=str)
def test_a_column_without_any_value_is_an_alert(kind):
    fault = only(logged(**{VALUE: pa.nulls(ROWS, kind)}))

    assert (fault.kind, fault.level, fault.subject) == (FaultKind.ALL_NULL, Level.ALERT, VALUE)


def test_a_model_column_that_the_log_lacks_is_an_alert():
    fault = only(logged(**{CITY: None}))

    assert (fault.kind, fault.level, fault.subject) == (FaultKind.MISSING_COLUMN, Level.ALERT, CITY)


def test_a_column_nobody_knows_is_named():
    assert only(logged(profile__shoe_size=pa.array([42.0] * ROWS))).kind is FaultKind.NEW_COLUMN


def test_a_column_of_another_version_has_no_values_and_is_no_fault():
    assert faults_of(logged(profile__shoe_size=pa.nulls(ROWS, pa.float64()))) == {}


@pytest.mark.parametrize(("share", "level"), [(0.2, Level.WATCH), (0.9, Level.ALERT)])
def test_more_nulls_than_in_training_are_a_fault(share, level):
    array = make_features(ROWS, seed=2)[VALUE].to_numpy().copy()
    array[: int(share * ROWS)] = np.nan

    fault = only(logged(**{VALUE: pa.array(array)}))

    assert (fault.kind, fault.level, fault.share) == (FaultKind.MORE_NULLS, level, share)


def test_infinities_are_a_fault_of_their_own():
    fault = only(logged(**{VALUE: values(row3=np.inf, row5=-np.inf)}))

    assert fault.kind is FaultKind.INFINITE
    assert "2 values are infinite" in fault.message


def test_one_extreme_outlier_is_named():
    fault = only(logged(**{VALUE: values(row3=1e6)}))

    assert fault.kind is FaultKind.OUT_OF_RANGE
    assert "1 value is far outside" in fault.message
    assert "up to 1e+06" in fault.message


def test_a_column_that_stands_still_is_named():
    assert only(logged(**{VALUE: pa.array([40.0] * ROWS)})).kind is FaultKind.CONSTANT


def test_a_column_that_nearly_always_stood_still_may():
    rare = np.zeros(6_000)
    rare[:100] = 1
    baseline = BASELINE.drop([VALUE]).append_column(VALUE, pa.array(rare))

    assert find_faults(see(logged(**{VALUE: pa.array(np.zeros(ROWS))}), baseline)) == []


def test_names_never_seen_are_a_fault():
    fault = only(logged(**{CITY: pa.array(["Lagos"] * 50 + ["Athens"] * (ROWS - 50))}))

    assert (fault.kind, fault.share) == (FaultKind.NEW_CATEGORIES, 0.05)
    assert "Lagos" in fault.message


@pytest.mark.parametrize(
    ("name", "wrong"), [(COUNT, ["12"] * ROWS), (CITY, [7] * ROWS)], ids=["text", "number"]
)
def test_values_of_another_kind_are_an_alert(name, wrong):
    fault = only(logged(**{name: pa.array(wrong)}))

    assert (fault.kind, fault.level) == (FaultKind.WRONG_TYPE, Level.ALERT)


@pytest.mark.parametrize(
    ("status", "rows", "kind", "level"),
    [
        ("not_found", 100, FaultKind.NOT_FOUND, Level.WATCH),
        ("not_found", 900, FaultKind.NOT_FOUND, Level.ALERT),
        ("expired", 100, FaultKind.EXPIRED, Level.WATCH),
        ("unavailable", 1, FaultKind.UNAVAILABLE, Level.WATCH),
        ("unavailable", 100, FaultKind.UNAVAILABLE, Level.ALERT),
    ],
)
def test_a_view_that_gives_less_than_in_training_is_a_fault(status, rows, kind, level):
    seen = [status] * rows + ["present"] * (ROWS - rows)

    fault = only(logged(served__orders__status=seen))

    assert (fault.kind, fault.level, fault.subject) == (kind, level, "orders")
    assert fault.share == rows / ROWS


def test_what_training_lacked_too_is_expected():
    half = pa.array(["present", "not_found"] * 3_000)
    reference = make_reference(BASELINE.append_column("served__profile__status", half))
    window = logged(served__profile__status=["not_found"] * (ROWS // 2) + ["present"] * (ROWS // 2))

    seen = see(window, reference=reference)
    (orders, profile) = statuses(PLAN, reference, seen.profile)

    assert (orders.expected_absent, orders.present) == (0, 1)
    assert (profile.expected_absent, profile.not_found) == (0.5, 0.5)
    assert find_faults(seen) == []


def test_bounds_of_a_baseline_without_values_exclude_nothing():
    number = SCHEMA.columns[0]

    assert known_bounds(profiles(number, [np.nan, np.inf], [])[0].held) == (-np.inf, np.inf)
    assert known_bounds(profiles(number, [2.0, 4.0], [])[0].held) == (0.0, 6.0)
    assert known_bounds(profiles(number, [5.0], [])[0].held) == (0.0, 10.0)


def test_a_name_that_took_anothers_place_is_said():
    cities = make_features(ROWS, seed=2)[CITY].to_pylist()

    fault = only(logged(**{CITY: pa.array(["BERGEN" if c == "Bergen" else c for c in cities])}))

    assert fault.kind is FaultKind.NEW_CATEGORIES
    assert "'BERGEN' may be 'Bergen' renamed" in fault.message


@pytest.mark.parametrize("factor", [60, 1 / 60, 1_000, 2.54])
def test_a_changed_unit_is_named_with_its_factor(factor):
    fault = only(logged(**{VALUE: pa.array(make_features(ROWS, seed=2)[VALUE].to_numpy() * factor)}))

    assert (fault.kind, fault.level, fault.subject) == (FaultKind.UNIT_CHANGED, Level.ALERT, VALUE)
    assert float(fault.message.split(" times")[0].split()[-1]) == pytest.approx(factor, rel=0.03)


def test_values_that_only_grew_are_no_change_of_unit():
    assert faults_of(logged(**{VALUE: pa.array(make_features(ROWS, seed=2)[VALUE].to_numpy() * 1.4)})) == {}


def test_swapped_columns_are_both_named():
    features = make_features(ROWS, seed=2)

    found = faults_of(
        logged(**{VALUE: pa.array(features[COUNT].to_pylist(), pa.float64()), COUNT: features[VALUE]})
    )

    assert set(found) == {(FaultKind.SWAPPED, VALUE), (FaultKind.SWAPPED, COUNT)}
    assert COUNT in found[FaultKind.SWAPPED, VALUE].message


def served(age_s, *, rows=ROWS):
    """Every row of the orders view as old as this when it was served."""
    from datetime import UTC, datetime, timedelta

    when = datetime(2024, 6, 3, tzinfo=UTC)
    return {
        "event_timestamp": pa.array([when] * rows, pa.timestamp("us", tz="UTC")),
        "served__orders__event_timestamp": pa.array(
            [when - timedelta(seconds=age_s)] * rows, pa.timestamp("us", tz="UTC")
        ),
    }


def test_a_view_that_went_stale_is_named_though_its_rows_are_there():
    # In training half of its rows were younger than seven minutes, and 99 of 100 than 46.
    fault = only(logged(**served(6 * 3_600)))

    assert (fault.kind, fault.level, fault.subject) == (FaultKind.STALE, Level.ALERT, "orders")
    assert "older than 6 h" in fault.message


def test_rows_that_wait_for_the_next_write_are_not_stale():
    assert faults_of(logged(**served(3_600))) == {}


def test_rows_served_past_their_ttl_are_an_alert():
    plan = PLAN.model_copy(
        update={"views": (PLAN.views[0].model_copy(update={"ttl_us": 3_600_000_000}), PLAN.views[1])}
    )

    (fault,) = find_faults(see(logged(**served(3_601)), reference=REFERENCE, plan=plan))

    assert (fault.kind, fault.level, fault.share) == (FaultKind.PAST_TTL, Level.ALERT, 1.0)


def test_a_rare_name_that_was_only_not_met_yet_is_no_fault():
    # One name in five rows of training was met once: as many again are to be expected.
    rare = make_features(6_000, seed=1)
    names = [f"n{i}" if i % 5 == 0 else "Athens" for i in range(6_000)]
    reference = make_reference(rare.set_column(rare.column_names.index(CITY), CITY, pa.array(names)))

    def judge(step):
        later = pa.array([f"m{i}" if i % step == 0 else "Athens" for i in range(ROWS)])
        return find_faults(see(logged(**{CITY: later}), reference=reference))

    assert judge(5) == []
    assert [fault.kind for fault in judge(2)] == [FaultKind.NEW_CATEGORIES]


@pytest.mark.parametrize(("renewed", "kinds"), [(False, set()), (True, {FaultKind.STALE})])
def test_rows_written_once_and_for_all_grow_old_without_going_stale(renewed, kinds):
    # Distances between airports: in training they were as old as training was long.
    rows = make_features(3_000, seed=5)
    asked = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=14 * i) for i in range(3_000)]
    first = [a - timedelta(days=1) if renewed else asked[0] - timedelta(days=1) for a in asked]
    baseline = rows.append_column("event_timestamp", pa.array(asked, TIMESTAMP))
    baseline = baseline.append_column("served__profile__event_timestamp", pa.array(first, TIMESTAMP))
    now = [DAY.start + timedelta(minutes=2 * i) for i in range(ROWS)]
    window = logged().append_column("event_timestamp", pa.array(now, TIMESTAMP))
    old = pa.array([asked[0] - timedelta(days=1)] * ROWS, TIMESTAMP)
    window = window.append_column("served__profile__event_timestamp", old)

    reference = make_reference(baseline)
    seen = see(window, reference=reference)
    told = {view.view: view.renewed for view in statuses(PLAN, reference, seen.profile)}

    assert {fault.kind for fault in find_faults(seen) if fault.subject == "profile"} == kinds
    assert told == {"orders": True, "profile": renewed}
