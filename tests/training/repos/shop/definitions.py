"""A shop's customers: what they bought so far, and how long ago."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
orders = FileSource(
    name="customer_orders",
    path="data/customer_orders.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
customer_orders = FeatureView(
    name="customer_orders",
    entities=[customer],
    ttl=timedelta(days=60),
    schema=[
        Field(name="order_count_total", dtype=Int64),
        Field(name="order_value_sum_cents_total", dtype=Int64),
        Field(name="order_channel_last", dtype=String),
        Field(name="order_last_epoch_us", dtype=Int64),
    ],
    source=orders,
)
question = RequestSource(name="question", schema=[Field(name="question_epoch_us", dtype=Int64)])


@on_demand_feature_view(
    name="order_pace",
    sources=[question, customer_orders],
    schema=[
        Field(name="order_last_age_h", dtype=Float64),
        Field(name="order_value_mean_cents", dtype=Float64),
    ],
    mode="python",
)
def order_pace(inputs: dict[str, list]) -> dict[str, list]:
    from math import isnan

    def known(value):
        return value is not None and not isnan(value)

    asked, last = inputs["question_epoch_us"], inputs["order_last_epoch_us"]
    sums, counts = inputs["order_value_sum_cents_total"], inputs["order_count_total"]
    return {
        "order_last_age_h": [
            (now - then) / 3_600_000_000 if known(then) else None
            for now, then in zip(asked, last, strict=True)
        ],
        "order_value_mean_cents": [
            total / count if known(count) else None for total, count in zip(sums, counts, strict=True)
        ],
    }


return_soon = FeatureService(
    name="return_soon",
    features=[customer_orders[["order_count_total", "order_channel_last"]], order_pace],
)
