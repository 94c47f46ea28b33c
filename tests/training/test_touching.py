"""Who reads what changed, from what a release carries."""

import pytest

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanTransform, PlanView, ReadPlan
from knownat.stores.definition_changes import Change, What
from knownat.stores.outlines import Outline, ServiceOutline, ViewOutline
from training.plan_tables import describe_effect, render_markdown
from training.planning import Plan, Touched
from training.touching import reads, touched_owners, touched_services
from training.traffic import Effect, MetricEffect

KEY = PlanKey(view_key="customer_id", request_key="buyer_id", dtype="int64")
PLAN = ReadPlan(
    project="shop",
    feature_service="delivery",
    views=(
        PlanView(
            name="buyer",
            view="customer_orders",
            keys=(KEY,),
            ttl_us=0,
            features=(PlanFeature(name="order_count", dtype="int64"),),
        ),
    ),
    transforms=(
        PlanTransform(
            name="pace",
            file="order_pace.py",
            function="order_pace",
            inputs={},
            outputs=(PlanFeature(name="order_age_h", dtype="float64"),),
        ),
    ),
    output_columns=("buyer__order_count", "pace__order_age_h"),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change(What.TTL, "customer_orders"), True),
        (Change(What.TYPE, "customer_orders", "order_count"), True),
        (Change(What.TYPE, "customer_orders", "order_channel"), False),
        (Change(What.FIELD_REMOVED, "customer_orders", "order_channel"), False),
        # Whoever reads the view is told, though it reads no new field yet.
        (Change(What.FIELD_ADDED, "customer_orders", "order_new"), True),
        (Change(What.FIELD_ADDED, "product_sales", "order_new"), False),
        (Change(What.BODY, "order_pace"), True),
        (Change(What.TYPE, "order_pace", "order_age_h"), True),
        (Change(What.VIEW_REMOVED, "product_sales"), False),
        (Change(What.SERVICE_REMOVED, "delivery"), True),
        (Change(What.SERVICE_REMOVED, "return_soon"), False),
        # The name it has in the service is not the name of what changed.
        (Change(What.TTL, "buyer"), False),
    ],
)
def test_a_release_reads_what_its_plan_reads_under_whatever_name(change, expected):
    assert reads(PLAN, change) is expected


def test_services_and_owners_of_before_and_after_are_told():
    orders = ViewOutline(name="customer_orders", kind="feature view", owner="a@example.org", fields={})
    theirs = ServiceOutline(
        name="delivery", owner="b@example.org", columns=(), views=frozenset({"customer_orders"})
    )
    other = ServiceOutline(name="stock", owner="c@example.org", columns=(), views=frozenset())
    before = Outline({"customer_orders": orders}, {"delivery": theirs, "stock": other})
    after = Outline({}, {"stock": other})
    removed = Change(What.VIEW_REMOVED, "customer_orders")
    assert touched_services(removed, before, after) == {"delivery"}
    assert touched_services(Change(What.SERVICE_ADDED, "delivery"), after, before) == {"delivery"}
    assert touched_owners(removed, {"delivery"}, before, after) == {"a@example.org", "b@example.org"}


def test_a_service_that_is_called_as_a_view_is_not_the_view():
    view = ViewOutline(name="delivery", kind="feature view", owner="a@example.org", fields={})
    service = ServiceOutline(name="delivery", owner="b@example.org", columns=(), views=frozenset())
    world = Outline({"delivery": view}, {"delivery": service})
    removed = Change(What.SERVICE_REMOVED, "delivery")
    assert touched_owners(removed, {"delivery"}, world, world) == {"b@example.org"}


def touched(what: What, *, breaks: bool, allowed: bool = False) -> Touched:
    change = Change(what, "customer_orders", before="1 day | <b>", after="2 days")
    return Touched(change, ("delivery 3 (champion)",), ("delivery",), (), ("a@example.org",), breaks, allowed)


def test_what_was_looked_at_may_pass_and_what_cannot_be_scored_may_not():
    assert Plan((touched(What.TTL, breaks=True),)).breaks
    assert not Plan((touched(What.TTL, breaks=True, allowed=True),)).breaks
    failing = {"delivery 3 (champion)": Effect(problem="no such column", fails=True)}
    assert Plan((touched(What.TABLE, breaks=False),), failing).breaks
    assert not Plan((touched(What.TYPE, breaks=True, allowed=True),), failing).breaks
    unasked = {"delivery 3 (champion)": Effect(problem="there is nothing to ask again")}
    assert not Plan((touched(What.TABLE, breaks=False),), unasked).breaks


def test_the_markdown_is_one_line_a_change_and_keeps_its_cells_apart():
    effect = Effect(
        source="logged",
        questions=410,
        columns_changed={"buyer__order_count": 40},
        scores_changed=38,
        mean_change=0.25,
        largest_change=0.5,
        metric=MetricEffect("mae", 400, 2.0, 1.75, gain=0.25, low=0.125, high=0.375),
    )
    page = render_markdown(Plan((touched(What.TTL, breaks=True),), {"delivery 3 (champion)": effect}))
    lines = page.splitlines()
    assert "### Plan: 1 change, which breaks delivery 3 (champion)" in lines
    (line,) = [line for line in lines if line.startswith("| `customer_orders`")]
    assert line == (
        "| `customer_orders` | ttl | 1 day \\| &lt;b> | 2 days | **breaks** | delivery 3 (champion) "
        "| delivery | a@example.org |"
    )
    (line,) = [line for line in lines if line.startswith("| delivery 3")]
    assert "| mae of 400 | 2.0000 | 1.7500 | +0.2500 (+0.1250 to +0.3750) |" in line
    assert describe_effect(effect) == (
        "38 of 410 scores differ (logged), by up to 0.5; features that differ: buyer__order_count (40); "
        "mae of 400 labelled: 2.0000 -> 1.7500, gain +0.2500 (+0.1250 to +0.3750)"
    )
