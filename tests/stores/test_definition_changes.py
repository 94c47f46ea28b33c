"""Two outlines compared: every kind of change is named, and only those that matter break."""

from dataclasses import replace

import pytest

from knownat.stores.definition_changes import BREAKING, SILENT, Change, What, compare_outlines
from knownat.stores.outlines import Outline, ServiceOutline, ViewOutline, plain_body

HOUR = 3_600_000_000
ORDERS = ViewOutline(
    name="customer_orders",
    kind="feature view",
    owner="growth@example.org",
    fields={"order_count": "Int64", "order_channel": "String"},
    keys={"customer_id": "INT64"},
    ttl_us=24 * HOUR,
    source={"kind": "FileSource", "time": "paid_at", "path": "data/orders.parquet"},
)
PACE = ViewOutline(
    name="order_pace",
    kind="on-demand view",
    fields={"order_age_h": "Float64"},
    body="def order_pace(inputs):\n    return inputs['a']",
    inputs=("question_epoch_us Int64", "view customer_orders"),
)
SERVICE = ServiceOutline(
    name="return_soon",
    owner="growth@example.org",
    columns=("customer_orders__order_count", "order_pace__order_age_h"),
    views=frozenset({"customer_orders", "order_pace"}),
)


def outline(*views: ViewOutline, services: tuple[ServiceOutline, ...] = (SERVICE,)) -> Outline:
    return Outline({view.name: view for view in views}, {service.name: service for service in services})


BEFORE = outline(ORDERS, PACE)


def changed(view: ViewOutline, **differences: object) -> list[Change]:
    other = replace(view, **differences)
    views = [other if each.name == view.name else each for each in (ORDERS, PACE)]
    return compare_outlines(BEFORE, outline(*views))


def test_the_same_definitions_change_nothing():
    assert compare_outlines(BEFORE, BEFORE) == []


@pytest.mark.parametrize(
    ("view", "differences", "expected"),
    [
        (
            ORDERS,
            {"fields": {"order_count": "Float64", "order_channel": "String"}},
            Change(What.TYPE, "customer_orders", "order_count", "Int64", "Float64"),
        ),
        (
            ORDERS,
            {"fields": {"order_count": "Int64"}},
            Change(What.FIELD_REMOVED, "customer_orders", "order_channel", "String"),
        ),
        (
            ORDERS,
            {"fields": {"order_count": "Int64", "channel": "String"}},
            Change(What.FIELD_RENAMED, "customer_orders", "order_channel", "order_channel", "channel"),
        ),
        (
            ORDERS,
            {"fields": {**ORDERS.fields, "order_value": "Int64"}},
            Change(What.FIELD_ADDED, "customer_orders", "order_value", "", "Int64"),
        ),
        (
            ORDERS,
            {"keys": {"customer_id": "STRING"}},
            Change(What.KEYS, "customer_orders", "", "customer_id INT64", "customer_id STRING"),
        ),
        (
            ORDERS,
            {"ttl_us": 0},
            Change(What.TTL, "customer_orders", "", "1 d", "for ever"),
        ),
        (ORDERS, {"online": False}, Change(What.ONLINE, "customer_orders", "", "yes", "no")),
        (
            ORDERS,
            {"owner": "sales@example.org"},
            Change(What.OWNER, "customer_orders", "", "growth@example.org", "sales@example.org"),
        ),
        (
            ORDERS,
            {"source": {"kind": "FileSource", "time": "told_at", "path": "data/orders.parquet"}},
            Change(
                What.SOURCE,
                "customer_orders",
                "",
                "kind FileSource, time paid_at, path data/orders.parquet",
                "kind FileSource, time told_at, path data/orders.parquet",
            ),
        ),
        (
            PACE,
            {"body": "def order_pace(inputs):\n    return inputs['b']"},
            Change(What.BODY, "order_pace", "", "return inputs['a']", "return inputs['b']"),
        ),
        (
            PACE,
            {"inputs": ("view customer_orders",)},
            Change(
                What.INPUTS,
                "order_pace",
                "",
                "question_epoch_us Int64, view customer_orders",
                "view customer_orders",
            ),
        ),
    ],
    ids=lambda value: value.what.value if isinstance(value, Change) else "",
)
def test_one_difference_is_one_change(view, differences, expected):
    assert changed(view, **differences) == [expected]


def test_two_fields_gone_for_one_of_their_type_are_not_taken_for_a_new_name():
    found = changed(ORDERS, fields={"total": "Int64"})
    assert [(each.what, each.field) for each in found] == [
        (What.FIELD_REMOVED, "order_count"),
        (What.FIELD_REMOVED, "order_channel"),
        (What.FIELD_ADDED, "total"),
    ]


def test_a_field_of_another_type_is_no_new_name():
    found = changed(ORDERS, fields={"order_count": "Int64", "channel": "Int64"})
    assert [(each.what, each.field) for each in found] == [
        (What.FIELD_REMOVED, "order_channel"),
        (What.FIELD_ADDED, "channel"),
    ]


def test_a_view_of_another_kind_is_another_view():
    assert changed(ORDERS, kind="on-demand view") == [
        Change(What.VIEW_REMOVED, "customer_orders", "", "feature view", "on-demand view")
    ]


def test_the_order_of_a_services_columns_is_part_of_what_it_promises():
    turned = replace(SERVICE, columns=SERVICE.columns[::-1])
    assert compare_outlines(BEFORE, outline(ORDERS, PACE, services=(turned,))) == [
        Change(What.COLUMNS, "return_soon")
    ]


def test_a_view_that_begins_to_be_written_online_takes_nothing_away():
    offline = replace(ORDERS, online=False)
    assert compare_outlines(outline(offline), outline(ORDERS)) == []


def test_views_and_services_come_and_go_by_name():
    found = compare_outlines(outline(ORDERS), outline(PACE, services=()))
    assert [(each.what, each.subject) for each in found] == [
        (What.VIEW_REMOVED, "customer_orders"),
        (What.VIEW_ADDED, "order_pace"),
        (What.SERVICE_REMOVED, "return_soon"),
    ]


def test_a_service_names_the_columns_it_lost_and_won():
    other = replace(SERVICE, columns=("customer_orders__order_count", "customer_orders__order_channel"))
    assert compare_outlines(BEFORE, outline(ORDERS, PACE, services=(other,))) == [
        Change(What.COLUMNS, "return_soon", "", "order_pace__order_age_h", "customer_orders__order_channel")
    ]


def test_nothing_both_breaks_and_changes_no_value():
    assert not set(BREAKING) & SILENT


def test_comments_decorators_and_layout_are_no_part_of_a_body():
    plain = 'def f(x):\n    return {"a": x["b"]}\n'
    dressed = '@odfv(name="f")\ndef f(x):\n    """Say a."""\n    # twice\n    return {\n     "a": x["b"]}\n'
    assert plain_body(dressed) == plain_body(plain)
    assert plain_body(plain.replace('"b"', '"c"')) != plain_body(plain)
