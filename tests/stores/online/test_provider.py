"""Pushing through the strict door: exact or refused by name, whatever pandas made of it."""

import asyncio
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore
from feast.data_source import PushMode

from knownat.errors import EarlyRows, SchemaMismatch
from knownat.stores.provider import ExactProvider
from tests.stores.online.shop_views import Shop, at, order_rows


@pytest.fixture
def strict(shop: Shop) -> FeatureStore:
    """The shop's Feast store, with the strict provider before it."""
    provider = "knownat.stores.provider.ExactProvider"
    feast = FeatureStore(config=shop.feast.config.model_copy(update={"provider": provider}))
    assert isinstance(feast.provider, ExactProvider)
    return feast


def push(feast: FeatureStore, **more: Any) -> None:
    feast.push("orders_push", pd.DataFrame(order_rows([1, 2]) | more))


def test_what_is_pushed_is_what_is_read(strict: FeatureStore, shop: Shop) -> None:
    push(strict, ignored_by_this_view=[1, 2])
    found = shop.ask(["orders:count", "orders:sizes", "orders:extra"], customer_id=[1, 2])
    assert found["count"] == [2**53 + 1, 2**53 + 2]
    assert found["sizes"] == [[1, 1], [1, 2]]
    assert found["extra"] == [{"a": 1}] * 2


def test_a_null_beside_a_large_integer_leaves_it_exact(strict: FeatureStore, shop: Shop) -> None:
    for column in (pd.array([2**53 + 1, None], dtype="Int64"), np.array([2**53 + 1, None], dtype=object)):
        push(strict, count=column)
        assert shop.ask(["orders:count"], customer_id=[1, 2])["count"] == [2**53 + 1, None]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"count": [3.7, 4.0]}, "Feature 'count' holds double that int64 cannot hold exactly"),
        ({"count": [float(2**53 + 2), None]}, "Feature 'count' holds double beyond what"),
        ({"count": [True, False]}, "Feature 'count' holds bool"),
        ({"count": [1, "2"]}, "column 'count' has no one type"),
        ({"member": [1, 0]}, "Feature 'member' holds int64"),
        ({"channel": [1, 2]}, "Feature 'channel' holds int64"),
        ({"extra": ["{", "{}"]}, "feature 'extra' has values that do not fit its declared JSON"),
        ({"sizes": [[1.5], [2]]}, "Feature 'sizes'"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    strict: FeatureStore, shop: Shop, more: dict[str, Any], why: str
) -> None:
    with pytest.raises(SchemaMismatch, match=f"^orders: {why}"):
        push(strict, **more)
    assert shop.ask(["orders:value"], customer_id=[1, 2])["value"] == [None, None]


def test_unknown_and_missing_columns_are_named(strict: FeatureStore) -> None:
    rows = {"region_code": ["north"], "total": [1], "event_timestamp": [at(hours=1)]}
    with pytest.raises(SchemaMismatch, match=r"sales: its rows lack \['created_timestamp'\], and have \[\]"):
        strict.write_to_online_store("sales", pd.DataFrame(rows))
    rows |= {"created_timestamp": [at(hours=1)], "totl": [1]}
    with pytest.raises(SchemaMismatch, match=r"sales: its rows lack \[\], and have \['totl'\]"):
        strict.write_to_online_store("sales", pd.DataFrame(rows))


def test_times_may_be_text_and_rows_from_the_future_are_refused(strict: FeatureStore, shop: Shop) -> None:
    push(strict, event_timestamp=["2013-06-01T12:30:00+02:00"] * 2)
    assert shop.ask(["orders:value"], customer_id=[1])["value"] == [0.5]
    with pytest.raises(EarlyRows, match="shop/orders: 1 rows claim a time later than now"):
        push(strict, event_timestamp=[at(hours=-1), at(hours=1)], value=[7.0, 8.0])
    assert shop.ask(["orders:value"], customer_id=[1, 2])["value"] == [0.5, 8.0]


def test_maps_keep_their_own_keys(strict: FeatureStore, shop: Shop) -> None:
    push(strict, extra=[{"a": 1}, {"b": None}])
    assert shop.ask(["orders:extra"], customer_id=[1, 2])["extra"] == [{"a": 1}, {"b": None}]


def test_a_push_may_be_asynchronous(strict: FeatureStore, shop: Shop) -> None:
    asyncio.run(strict.push_async("orders_push", pd.DataFrame(order_rows([1]))))
    assert shop.ask(["orders:value"], customer_id=[1])["value"] == [0.5]


def test_a_view_computed_when_it_is_written_goes_feasts_own_way(strict: FeatureStore, shop: Shop) -> None:
    strict.write_to_online_store("basket", inputs={"customer_id": [1], "items": [3]})
    assert shop.ask(["basket:twice"], customer_id=[1])["twice"] == [6]


def test_a_push_may_go_offline_too(strict: FeatureStore, shop: Shop) -> None:
    rows = pd.DataFrame(order_rows([1]))
    rows.to_parquet(shop.feast.repo_path / "orders_batch.parquet")
    strict.push("orders_push", rows, to=PushMode.ONLINE_AND_OFFLINE)
    assert len(pd.read_parquet(shop.feast.repo_path / "orders_batch.parquet")) == 2
    assert shop.ask(["orders:value"], customer_id=[1])["value"] == [0.5]
