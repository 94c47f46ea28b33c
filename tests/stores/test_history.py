"""Historical frames through Feast's own interface, on the shop."""

import pyarrow as pa

from knownat.stores.history import historical_frame
from knownat.stores.repo import Repo
from tests.laws.oracle import Row, as_of
from tests.stores import shop


def history(table: pa.Table, key: str, event: str, created: str, features: dict[str, str]) -> list[Row]:
    times = {name: table[name].cast(pa.int64()).to_pylist() for name in (event, created)}
    columns = {new: table[old].to_pylist() for old, new in features.items()}
    return [
        Row(k, times[event][i], times[created][i], {name: columns[name][i] for name in columns})
        for i, k in enumerate(table[key].to_pylist())
    ]


def test_every_feature_equals_brute_force_in_the_examples_order(repo: Repo) -> None:
    asked = shop.examples()
    frame = historical_frame(repo, asked, "churn")
    assert frame.select(asked.column_names).equals(asked)

    times = asked["event_timestamp"].cast(pa.int64()).to_pylist()
    names = ["order_count_30d", "order_value_eur_30d", "last_channel", "is_member", "last_order_us"]
    orders = history(
        shop.order_rows(), "customer_id", "event_timestamp", "created_timestamp", {n: n for n in names}
    )
    sales = history(shop.sales_rows(), "code", "happened", "published", {"sum_x": "sales_y"})
    types = dict(zip(names, ["int64", "float64", "string", "bool", "int64"], strict=True))
    two_days = 2 * 86_400_000_000
    for i, now in enumerate(times):
        row, expired = as_of(
            orders, asked["customer_id"][i].as_py(), types=types, asked=now, known=now, ttl=two_days
        )
        seen = row.values if row and not expired else dict.fromkeys(names)
        for name in names[:-1]:
            assert frame[f"customer_orders__{name}"][i].as_py() == seen[name]
        age = frame["order_age__order_age_s"][i].as_py()
        last = seen["last_order_us"]
        assert age != age if last is None else age == (asked["question_us"][i].as_py() - last) / 1e6
        row, _ = as_of(
            sales, asked["home_region"][i].as_py(), types={"sales_y": "int64"}, asked=now, known=now, ttl=0
        )
        assert frame["region_sales__sales_y"][i].as_py() == (row.values["sales_y"] if row else None)
