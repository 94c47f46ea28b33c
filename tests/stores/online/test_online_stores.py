"""What Feast's API promises on the packed stores, beyond what its own stores do."""

from tests.stores.online.shop_views import Shop, at, order_rows

ORDERS = ["orders:count", "orders:value", "orders:channel", "orders:member", "orders:last", "orders:sizes"]


def test_a_written_row_is_read_back_with_its_own_types(shop: Shop) -> None:
    shop.write("orders", **order_rows([1, 2]))
    assert shop.ask([*ORDERS, "orders:extra"], customer_id=[2, 1]) == {
        "customer_id": [2, 1],
        "count": [2**53 + 2, 2**53 + 1],
        "value": [1.0, 0.5],
        "channel": ["web", "web"],
        "member": [True, True],
        "last": [at(days=9)] * 2,
        "sizes": [[1, 2], [1, 1]],
        "extra": [{"a": 1}] * 2,
    }
