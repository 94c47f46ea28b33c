from datetime import timedelta

from entities import customer, region
from feast import FeatureView, Field
from feast.types import Bool, Float64, Int64, String
from sources import orders, sales

customer_orders = FeatureView(
    name="customer_orders",
    entities=[customer],
    ttl=timedelta(days=2),
    schema=[
        Field(name="order_count_30d", dtype=Int64),
        Field(name="order_value_eur_30d", dtype=Float64),
        Field(name="last_channel", dtype=String),
        Field(name="is_member", dtype=Bool),
        Field(name="last_order_us", dtype=Int64),
    ],
    source=orders,
)
region_sales = FeatureView(
    name="region_sales",
    entities=[region],
    schema=[Field(name="sales_y", dtype=Int64)],
    source=sales,
)
