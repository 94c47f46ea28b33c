"""A gift shop: whoever buys and whoever is given are both customers."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
product = Entity(name="product", join_keys=["sku"], value_type=ValueType.STRING)

orders_table = FileSource(
    name="customer_orders",
    path="data/customer_orders.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
received_table = FileSource(
    name="customer_received",
    path="data/customer_received.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
deliveries_table = FileSource(
    name="product_deliveries",
    path="data/product_deliveries.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)

customer_orders = FeatureView(
    name="customer_orders",
    entities=[customer],
    ttl=timedelta(days=90),
    schema=[
        Field(name="order_count_total", dtype=Int64),
        Field(name="order_value_sum_cents_total", dtype=Int64),
        Field(name="order_packaging_last", dtype=String),
    ],
    source=orders_table,
    owner="shop@example.org",
)
customer_received = FeatureView(
    name="customer_received",
    entities=[customer],
    ttl=timedelta(days=0),
    schema=[
        Field(name="delivery_count_total", dtype=Int64),
        Field(name="delivery_days_mean_total", dtype=Float64),
    ],
    source=received_table,
    owner="parcels@example.org",
)
product_deliveries = FeatureView(
    name="product_deliveries",
    entities=[product],
    ttl=timedelta(days=30),
    schema=[
        Field(name="delivery_count_total", dtype=Int64),
        Field(name="delivery_days_sum_total", dtype=Int64),
        Field(name="return_count_total", dtype=Int64),
    ],
    source=deliveries_table,
    owner="parcels@example.org",
)
promise = RequestSource(name="promise", schema=[Field(name="promised_days", dtype=Int64)])


@on_demand_feature_view(
    name="delivery_expectation",
    sources=[promise, product_deliveries],
    schema=[
        Field(name="product_delivery_days_mean", dtype=Float64),
        Field(name="product_return_share", dtype=Float64),
        Field(name="promised_beyond_usual_days", dtype=Float64),
    ],
    mode="python",
)
def delivery_expectation(inputs: dict[str, list]) -> dict[str, list]:
    from math import isnan

    def known(value):
        return value is not None and not isnan(value)

    def shares(totals):
        counted = zip(totals, inputs["delivery_count_total"], strict=True)
        return [total / count if known(count) else None for total, count in counted]

    means = shares(inputs["delivery_days_sum_total"])
    return {
        "product_delivery_days_mean": means,
        "product_return_share": shares(inputs["return_count_total"]),
        "promised_beyond_usual_days": [
            None if mean is None else promised - mean
            for promised, mean in zip(inputs["promised_days"], means, strict=True)
        ],
    }


delivery = FeatureService(
    name="delivery",
    features=[
        customer_orders[["order_count_total", "order_packaging_last"]]
        .with_name("buyer_orders")
        .with_join_key_map({"customer_id": "buyer_id"}),
        customer_orders[["order_value_sum_cents_total", "order_packaging_last"]]
        .with_name("recipient_orders")
        .with_join_key_map({"customer_id": "recipient_id"}),
        customer_received[["delivery_days_mean_total"]]
        .with_name("recipient_received")
        .with_join_key_map({"customer_id": "recipient_id"}),
        delivery_expectation,
    ],
    owner="parcels@example.org",
)
