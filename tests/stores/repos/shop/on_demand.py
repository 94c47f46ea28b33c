from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from views import customer_orders

question = RequestSource(name="question", schema=[Field(name="question_us", dtype=Int64)])


@on_demand_feature_view(
    sources=[customer_orders[["last_order_us"]], question],
    schema=[Field(name="order_age_s", dtype=Float64)],
    mode="python",
)
def order_age(inputs: dict) -> dict:
    import math

    pairs = zip(inputs["question_us"], inputs["last_order_us"], strict=True)
    return {"order_age_s": [math.nan if last is None else (now - last) / 1e6 for now, last in pairs]}
