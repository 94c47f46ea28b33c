"""A small shop's views, registered in process: keyed, shared, keyless, pushed and written on demand."""

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RequestSource,
    ValueType,
)
from feast.on_demand_feature_view import OnDemandFeatureView, on_demand_feature_view
from feast.repo_config import RepoConfig
from feast.types import Array, Bool, Float64, Int32, Int64, Json, String, UnixTimestamp

from knownat.clock import FileClock, to_us
from knownat.stores.packed_online import PackedOnlineStore

NOW = datetime(2013, 6, 1, 12, tzinfo=UTC)
CUSTOMER = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
REGION = Entity(name="region", join_keys=["region_code"], value_type=ValueType.STRING)


def at(**ago: float) -> datetime:
    """A time before the shop's now."""
    return NOW - timedelta(**ago)


def source(name: str, folder: Path) -> FileSource:
    return FileSource(
        name=name,
        path=str(folder / f"{name}.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


def orders_view(folder: Path) -> FeatureView:
    return FeatureView(
        name="orders",
        entities=[CUSTOMER],
        ttl=timedelta(days=2),
        schema=[
            Field(name="customer_id", dtype=Int64),
            Field(name="count", dtype=Int64),
            Field(name="value", dtype=Float64),
            Field(name="channel", dtype=String),
            Field(name="member", dtype=Bool),
            Field(name="last", dtype=UnixTimestamp),
            Field(name="sizes", dtype=Array(Int64)),
            Field(name="extra", dtype=Json),
        ],
        source=PushSource(name="orders_push", batch_source=source("orders_batch", folder)),
    )


def sales_view(folder: Path) -> FeatureView:
    return FeatureView(
        name="sales",
        entities=[REGION],
        schema=[Field(name="region_code", dtype=String), Field(name="total", dtype=Int32)],
        source=source("sales_batch", folder),
    )


def visits_view(folder: Path) -> FeatureView:
    return FeatureView(
        name="visits",
        entities=[CUSTOMER, REGION],
        ttl=timedelta(hours=1),
        schema=[
            Field(name="customer_id", dtype=Int64),
            Field(name="region_code", dtype=String),
            Field(name="visits", dtype=Int64),
        ],
        source=source("visits_batch", folder),
    )


def weather_view(folder: Path) -> FeatureView:
    return FeatureView(
        name="weather",
        entities=[],
        schema=[Field(name="rain", dtype=Float64)],
        source=source("weather_batch", folder),
    )


def basket_view() -> OnDemandFeatureView:
    request = RequestSource(
        name="basket_request",
        schema=[Field(name="customer_id", dtype=Int64), Field(name="items", dtype=Int64)],
    )

    declared: Any = on_demand_feature_view(
        sources=[request],
        entities=[CUSTOMER],
        schema=[Field(name="twice", dtype=Int64)],
        mode="python",
        write_to_online_store=True,
    )

    def basket(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"twice": [2 * items for items in inputs["items"]]}

    view: OnDemandFeatureView = declared(basket)
    return view


def services(orders: FeatureView, sales: FeatureView, *_: FeatureView) -> list[FeatureService]:
    home = sales.with_name("sales_home").with_join_key_map({"region_code": "home_region"})
    return [
        FeatureService(name="home", features=[home]),
        FeatureService(name="ready", features=[orders[["value"]]], precompute_online=True),
    ]


@dataclass(frozen=True)
class Shop:
    """A shop's Feast store and the clock that its online store goes by."""

    feast: FeatureStore
    clock: FileClock

    @property
    def online(self) -> PackedOnlineStore:
        store = self.feast.provider.online_store
        assert isinstance(store, PackedOnlineStore)
        return store

    def write(self, view: str, **columns: Any) -> None:
        """Write rows as Feast's own API does: through a data frame."""
        self.feast.write_to_online_store(view, df=pd.DataFrame(columns))

    def ask(self, features: list[str], **keys: list[Any]) -> dict[str, list[Any]]:
        return self.feast.get_online_features(features=features, entity_rows=keys).to_dict()


def open_shop(folder: Path, online_store: dict[str, Any], *, project: str = "shop") -> Shop:
    """Register the shop's views in a fresh registry over this online store."""
    clock = FileClock(folder / "clock")
    clock.move_to(to_us(NOW))
    config = RepoConfig(
        project=project,
        provider="local",
        registry={"path": str(folder / f"{project}.db"), "cache_ttl_seconds": 600},
        online_store=online_store | {"clock": f"file:{folder / 'clock'}"},
        offline_store={"type": "knownat.stores.offline.AsOfOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    feast = FeatureStore(config=config, repo_path=str(folder))
    views = [orders_view(folder), sales_view(folder), visits_view(folder), weather_view(folder)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "On demand feature view is an experimental", RuntimeWarning)
        feast.apply([CUSTOMER, REGION, *views, basket_view(), *services(*views)])
    return Shop(feast, clock)


def order_rows(customers: list[int], **more: Any) -> dict[str, Any]:
    """Columns of the orders view, one row a customer, unless told otherwise."""
    many = len(customers)
    columns: dict[str, Any] = {
        "customer_id": customers,
        "count": [2**53 + customer for customer in customers],
        "value": [customer / 2 for customer in customers],
        "channel": ["web"] * many,
        "member": [True] * many,
        "last": [at(days=9)] * many,
        "sizes": [[1, customer] for customer in customers],
        "extra": ['{"a": 1}'] * many,
        "event_timestamp": [at(hours=1)] * many,
        "created_timestamp": [at(minutes=30)] * many,
    }
    return columns | more
