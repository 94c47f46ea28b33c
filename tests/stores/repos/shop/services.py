from feast import FeatureService
from on_demand import order_age
from views import customer_orders, region_sales

churn = FeatureService(
    name="churn",
    features=[
        customer_orders[["order_count_30d", "order_value_eur_30d", "last_channel", "is_member"]],
        region_sales.with_join_key_map({"region_code": "home_region"}),
        order_age,
    ],
)
reach = FeatureService(name="reach", features=[customer_orders])
