"""What Feast's API promises on the packed stores, beyond what its own stores do."""

import asyncio
import gc
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore, FeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value

from knownat.clock import to_us
from knownat.errors import BadKey, EarlyRows, SchemaMismatch
from knownat.stores.packed_write import Written
from knownat.stores.row_keys import ViewName
from tests.stores.online.shop_views import NOW, Shop, at, order_rows

ORDERS = ["orders:count", "orders:value", "orders:channel", "orders:member", "orders:last", "orders:sizes"]


def entity(**keys: Value) -> EntityKey:
    return EntityKey(join_keys=list(keys), entity_values=list(keys.values()))


def view(shop: Shop, name: str) -> FeatureView:
    found = shop.feast.registry.get_any_feature_view(name, "shop")
    assert isinstance(found, FeatureView)
    return found


def status(shop: Shop, feature: str, **keys: list[Any]) -> list[str]:
    answer = shop.feast.get_online_features(features=[feature], entity_rows=keys).proto
    at_feature = list(answer.metadata.feature_names.val).index(feature.partition(":")[2])
    return [FieldStatus.Name(state) for state in answer.results[at_feature].statuses]


def event_times(shop: Shop, feature: str, **keys: list[Any]) -> list[int]:
    answer = shop.feast.get_online_features(features=[feature], entity_rows=keys).proto
    at_feature = list(answer.metadata.feature_names.val).index(feature.partition(":")[2])
    return [moment.ToMicroseconds() for moment in answer.results[at_feature].event_timestamps]


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
    assert shop.ask(["orders:count"], customer_id=[1])["count"] == [2**53 + 1]


@pytest.mark.parametrize("missing", [[8], [7, 8, 9]], ids=["one", "many"])
def test_an_unknown_entity_is_not_found_and_null(shop: Shop, missing: list[int]) -> None:
    shop.write("orders", **order_rows([1]))
    many = len(missing)
    assert shop.ask(["orders:count"], customer_id=missing)["count"] == [None] * many
    assert status(shop, "orders:count", customer_id=missing) == ["NOT_FOUND"] * many
    assert event_times(shop, "orders:count", customer_id=missing) == [0] * many


def test_an_empty_store_has_nothing_and_says_so(shop: Shop) -> None:
    assert status(shop, "weather:rain", customer_id=[1]) == ["NOT_FOUND"]


@pytest.mark.parametrize("customers", [[1], [1, 2, 3]], ids=["one", "many"])
def test_a_ttl_is_applied_on_reads_by_the_stores_clock(shop: Shop, customers: list[int]) -> None:
    many = len(customers)
    shop.write("orders", **order_rows(customers, event_timestamp=[at(days=2)] * many))
    assert status(shop, "orders:count", customer_id=customers) == ["PRESENT"] * many

    shop.clock.move_to(to_us(NOW) + 1)
    assert status(shop, "orders:count", customer_id=customers) == ["OUTSIDE_MAX_AGE"] * many
    assert shop.ask(["orders:count"], customer_id=customers)["count"] == [None] * many
    assert event_times(shop, "orders:count", customer_id=customers) == [to_us(at(days=2))] * many
    keys = [entity(customer_id=Value(int64_val=customer)) for customer in customers]
    read = shop.online.online_read(shop.feast.config, view(shop, "orders"), keys, ["count"])
    assert read == [(at(days=2), None)] * many


@pytest.mark.parametrize("customers", [[1], [1, 2]], ids=["one", "many"])
def test_a_reader_whose_clock_is_behind_is_served_nothing_from_its_future(
    shop: Shop, customers: list[int]
) -> None:
    many = len(customers)
    shop.write("orders", **order_rows(customers, created_timestamp=[NOW] * many))
    shop.clock.move_to(to_us(NOW) - 1_000_000)
    assert status(shop, "orders:count", customer_id=customers) == ["PRESENT"] * many
    shop.clock.move_to(to_us(NOW) - 1_000_001)
    assert status(shop, "orders:count", customer_id=customers) == ["OUTSIDE_MAX_AGE"] * many
    assert shop.ask(["orders:count"], customer_id=customers)["count"] == [None] * many


def test_a_view_without_a_ttl_never_expires(shop: Shop) -> None:
    shop.write(
        "sales",
        region_code=["north"],
        total=np.array([5], dtype=np.int32),
        event_timestamp=[at(days=9_000)],
        created_timestamp=[at(days=9_000)],
    )
    assert shop.ask(["sales:total"], region_code=["north"])["total"] == [5]


def test_a_repeated_an_unknown_and_a_null_key_each_get_their_own_answer(shop: Shop) -> None:
    shop.write("orders", **order_rows([1, 2]))
    keys = [2, None, 1, 2, 99, None]
    assert shop.ask(["orders:value"], customer_id=keys)["value"] == [1.0, None, 0.5, 1.0, None, None]
    assert status(shop, "orders:value", customer_id=keys) == [
        "PRESENT", "NOT_FOUND", "PRESENT", "PRESENT", "NOT_FOUND", "NOT_FOUND",
    ]  # fmt: skip
    assert status(shop, "orders:value", customer_id=[None]) == ["NOT_FOUND"]


@pytest.mark.parametrize(
    "key", [1.5, 1.0, True, "1", "1_0", np.float64(1), b"1"], ids=lambda key: type(key).__name__ + str(key)
)
def test_a_key_of_another_type_is_refused_and_never_another_entitys(shop: Shop, key: object) -> None:
    shop.write("orders", **order_rows([1, 10]))
    with pytest.raises(BadKey, match="Key 'customer_id' must be INT64"):
        shop.ask(["orders:count"], customer_id=[1, key])
    with pytest.raises(BadKey, match="Key 'customer_id' must be INT64"):
        shop.feast.get_online_features(["orders:count"], [{"customer_id": key}])


def test_keys_of_numpy_and_of_feasts_own_messages_are_taken(shop: Shop) -> None:
    shop.write("orders", **order_rows([1]))
    assert shop.ask(["orders:value"], customer_id=[np.int32(1)])["value"] == [0.5]
    messages: Any = {"customer_id": RepeatedValue(val=[Value(int64_val=1)])}
    assert shop.feast.get_online_features(["orders:value"], messages).to_dict()["value"] == [0.5]
    with pytest.raises(BadKey, match="key 'customer_id' must be int64"):
        shop.ask(["orders:value"], customer_id=[Value(string_val="1")])


def test_a_number_is_no_key_of_text(shop: Shop) -> None:
    with pytest.raises(BadKey, match="Key 'region_code' must be STRING, not \\['int'\\]"):
        shop.ask(["sales:total"], region_code=[5])


def test_a_missing_key_is_named(shop: Shop) -> None:
    with pytest.raises(BadKey, match=r"visits: keys \['region_code'\] are missing"):
        shop.ask(["visits:visits"], customer_id=[1])


def visits(*rows: tuple[int, str, int]) -> dict[str, list[Any]]:
    customers, regions, counts = zip(*rows, strict=True)
    when = [at(minutes=5)] * len(rows)
    return {
        "customer_id": list(customers),
        "region_code": list(regions),
        "visits": list(counts),
        "event_timestamp": when,
        "created_timestamp": when,
    }


def test_several_keys_name_an_entity_together_in_whatever_order_they_are_given(shop: Shop) -> None:
    shop.write("visits", **visits((1, "north", 11), (1, "south", 12), (2, "north", 21)))
    asked: dict[str, list[Any]] = {"region_code": ["south", "north", "south"], "customer_id": [1, 2, 2]}
    assert shop.ask(["visits:visits"], **asked)["visits"] == [12, 21, None]


def test_a_view_without_entities_has_one_row(shop: Shop) -> None:
    when = {"event_timestamp": [at(hours=2)], "created_timestamp": [at(hours=2)]}
    shop.write("weather", rain=[0.25], **when)
    assert shop.ask(["weather:rain"], customer_id=[1, 2])["rain"] == [0.25, 0.25]


def test_views_of_one_question_are_read_in_one_round_trip(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write("orders", **order_rows([1, 2]))
    shop.write("visits", **visits((1, "north", 11)))
    asked: list[int] = []
    rows = shop.online.row_store(shop.feast.config)
    read = rows.read

    def counted(keys: Sequence[bytes]) -> list[bytes | None]:
        asked.append(len(keys))
        return read(keys)

    monkeypatch.setattr(rows, "read", counted)
    found = shop.ask(
        ["orders:value", "visits:visits", "sales:total"],
        customer_id=[1, 2, 1],
        region_code=["north", "north", "north"],
    )
    assert asked == [2 + 2 + 1]
    assert (found["value"], found["visits"]) == ([0.5, 1.0, 0.5], [11, None, 11])


def test_a_feature_that_another_name_asks_for_is_found_under_it(shop: Shop) -> None:
    when = {"event_timestamp": [at(hours=2)] * 2, "created_timestamp": [at(hours=2)] * 2}
    total = np.array([1, 2], dtype=np.int32)
    shop.write("sales", region_code=["north", "south"], total=total, **when)
    answer = shop.feast.get_online_features(
        shop.feast.get_feature_service("home"), {"home_region": ["south"]}, full_feature_names=True
    )
    assert answer.to_dict() == {"home_region": ["south"], "sales_home__total": [2]}


def test_the_newest_row_wins_by_event_then_created_then_bytes(shop: Shop) -> None:
    def write(value: float, *, event: Any, created: Any) -> list[Any]:
        times = {"event_timestamp": [event], "created_timestamp": [created]}
        shop.write("orders", **order_rows([1], value=[value], **times))
        return shop.ask(["orders:value"], customer_id=[1])["value"]

    assert write(1.0, event=at(hours=3), created=at(hours=3)) == [1.0]
    assert write(2.0, event=at(hours=4), created=at(hours=1)) == [1.0]
    assert write(3.0, event=at(hours=3), created=at(hours=2)) == [3.0]
    assert write(4.0, event=at(hours=3), created=at(hours=2)) == [4.0]
    assert write(3.0, event=at(hours=3), created=at(hours=2)) == [4.0]
    assert write(5.0, event=at(hours=3, microseconds=-1), created=at(hours=3)) == [5.0]


def test_a_row_from_the_future_is_refused_by_name_and_the_others_are_written(shop: Shop) -> None:
    events = [at(seconds=-1), at(seconds=-1, microseconds=-1), at(hours=1)]
    created = [at(hours=1), at(hours=1), at(seconds=-2)]
    rows = order_rows([1, 2, 3], event_timestamp=events, created_timestamp=created)
    with pytest.raises(EarlyRows, match="shop/orders: 2 rows claim a time later than now") as caught:
        shop.write("orders", **rows)
    assert (caught.value.early, caught.value.written) == (2, 1)
    assert shop.ask(["orders:value"], customer_id=[1, 2, 3])["value"] == [0.5, None, None]


def test_a_row_from_2099_does_not_block_its_entity(shop: Shop) -> None:
    with pytest.raises(EarlyRows):
        shop.write("orders", **order_rows([1], event_timestamp=[at(days=-31_000)]))
    shop.write("orders", **order_rows([1], value=[7.0]))
    assert shop.ask(["orders:value"], customer_id=[1])["value"] == [7.0]


def test_a_null_key_is_left_out(shop: Shop) -> None:
    rows = order_rows([1, 2])
    rows["customer_id"] = pd.array([None, 2], dtype="Int64")
    shop.write("orders", **rows)
    assert shop.ask(["orders:value"], customer_id=[2])["value"] == [1.0]


def test_rows_that_lack_a_feature_or_have_another_are_refused_by_name(shop: Shop) -> None:
    key = entity(region_code=Value(string_val="north"))
    for values, why in [
        ({}, "lacks feature 'total'"),
        ({"total": Value(int32_val=1), "more": Value()}, r"have \['more'\]"),
        ({"total": Value(double_val=1.5)}, "declared int32, but has values of \\['double_val'\\]"),
    ]:
        with pytest.raises(SchemaMismatch, match=f"^sales: .*{why}"):
            shop.online.online_write_batch(
                shop.feast.config, view(shop, "sales"), [(key, values, at(hours=1), None)], None
            )
    assert status(shop, "sales:total", region_code=["north"]) == ["NOT_FOUND"]


def test_a_row_without_a_created_time_was_known_when_it_happened(shop: Shop) -> None:
    sales, config = view(shop, "sales"), shop.feast.config
    key = entity(region_code=Value(string_val="north"))
    naive = at(hours=1).replace(tzinfo=None)
    done: list[int] = []
    row = (key, {"total": Value(int32_val=3)}, naive, None)
    shop.online.online_write_batch(config, sales, [row, row], done.append)
    assert done == [2]
    assert shop.online.online_read(config, sales, [key]) == [(at(hours=1), {"total": Value(int32_val=3)})]
    never: Any = pd.NaT
    with pytest.raises(SchemaMismatch, match="a row's time is null"):
        shop.online.online_write_batch(config, sales, [(key, row[1], never, None)])


def test_no_rows_are_no_write(shop: Shop) -> None:
    shop.online.online_write_batch(shop.feast.config, view(shop, "sales"), [])
    assert shop.online.online_read(shop.feast.config, view(shop, "sales"), []) == []


def test_an_unknown_feature_is_refused_by_name(shop: Shop) -> None:
    with pytest.raises(SchemaMismatch, match=r"shop/sales: there are no features \['tota'\]"):
        shop.online.online_read(shop.feast.config, view(shop, "sales"), [], ["tota"])


def test_arrow_rows_are_written_exactly_and_counted(shop: Shop) -> None:
    moment = pa.timestamp("us", tz="UTC")
    table = pa.table(
        {
            "region_code": ["north", None, "south"],
            "total": pa.array([1, 2, 3], pa.int64()),
            "event_timestamp": pa.array([at(hours=1), at(hours=1), at(hours=-1)], moment),
        }
    )
    written = shop.online.write_arrow(shop.feast.config, view(shop, "sales"), table, created=None)
    assert written == Written(stored=1, outranked=0, early=1, keyless=1)
    assert shop.ask(["sales:total"], region_code=["north"])["total"] == [1]
    with pytest.raises(SchemaMismatch, match=r"sales: its rows lack \['total'\]"):
        shop.online.write_arrow(shop.feast.config, view(shop, "sales"), table.drop_columns(["total"]))


def test_what_is_read_asynchronously_is_the_same_on_one_loop_after_another(shop: Shop) -> None:
    shop.write("orders", **order_rows([1, 2]))
    features, keys = ["orders:value", "orders:count"], {"customer_id": [1, 2, 3]}
    wanted = shop.ask(features, **keys)

    async def ask() -> list[dict[str, Any]]:
        questions = [shop.feast.get_online_features_async(features, keys) for _ in range(5)]
        answers = await asyncio.gather(*questions)
        sales = view(shop, "sales")
        assert await shop.online.online_read_async(shop.feast.config, sales, []) == []
        await shop.feast.close()
        return [answer.to_dict() for answer in answers]

    for _ in range(2):
        assert asyncio.run(ask()) == [wanted] * 5


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_ended_without_a_close_leaves_the_store_usable(shop: Shop) -> None:
    shop.write("orders", **order_rows([1]))

    async def ask() -> list[Any]:
        answer = await shop.feast.get_online_features_async(["orders:value"], [{"customer_id": 1}])
        found: list[Any] = answer.to_dict()["value"]
        return found

    for _ in range(3):
        assert asyncio.run(ask()) == [0.5]
    asyncio.run(shop.feast.close())
    gc.collect()  # The connections of a loop that was not closed complain here, not in another test.


def test_a_key_of_another_type_is_refused_asynchronously_too(shop: Shop) -> None:
    with pytest.raises(BadKey, match="Key 'customer_id' must be INT64"):
        asyncio.run(shop.feast.get_online_features_async(["orders:value"], [{"customer_id": True}]))


def test_a_view_computed_when_it_is_written_is_stamped_by_the_stores_clock(shop: Shop) -> None:
    shop.feast.write_to_online_store("basket", inputs={"customer_id": [1, 2], "items": [3, 4]})
    config, basket = shop.feast.config, shop.feast.registry.get_any_feature_view("basket", "shop")
    online: Any = shop.online
    read = online.online_read(config, basket, [entity(customer_id=Value(int64_val=2))])
    assert read == [(NOW, {"twice": Value(int64_val=8)})]
    assert shop.ask(["basket:twice"], customer_id=[1, 2])["twice"] == [6, 8]


def test_applying_twice_and_deleting_a_view_touch_only_what_they_should(shop: Shop) -> None:
    shop.write("orders", **order_rows([1]))
    shop.write("visits", **visits((1, "north", 11)))
    orders, gone = view(shop, "orders"), view(shop, "visits")
    keep: list[Any] = [orders]
    for _ in range(2):
        shop.online.update(shop.feast.config, [], keep, [], [], partial=True)
    shop.online.update(shop.feast.config, [gone], keep, [], [], partial=True)
    assert shop.ask(["orders:value"], customer_id=[1])["value"] == [0.5]
    asked: dict[str, list[Any]] = {"customer_id": [1], "region_code": ["north"]}
    assert status(shop, "visits:visits", **asked) == ["NOT_FOUND"]
    rows = shop.online.row_store(shop.feast.config)
    assert rows.schemas(ViewName("shop", "visits")) == {}


def test_projects_in_one_store_do_not_see_each_other(shop: Shop) -> None:
    shop.write("orders", **order_rows([1]))
    other = shop.feast.config.model_copy(update={"project": "other"})
    orders, key = view(shop, "orders"), [entity(customer_id=Value(int64_val=1))]
    assert shop.online.online_read(other, orders, key, ["value"]) == [(None, None)]

    sales = view(shop, "sales")
    north = entity(region_code=Value(string_val="north"))
    shop.online.online_write_batch(other, sales, [(north, {"total": Value(int32_val=9)}, at(hours=1), None)])
    assert shop.online.online_read(shop.feast.config, sales, [north]) == [(None, None)]
    shop.online.teardown(shop.feast.config, [], [])
    assert shop.online.online_read(shop.feast.config, orders, key, ["value"]) == [(None, None)]
    assert shop.online.online_read(other, sales, [north]) == [(at(hours=1), {"total": Value(int32_val=9)})]
    shop.online.teardown(other, [], [])


def test_a_service_with_vectors_made_beforehand_reads_the_rows_themselves(shop: Shop) -> None:
    shop.write("orders", **order_rows([1]))
    service = shop.feast.get_feature_service("ready")
    assert service.precompute_online
    answer = shop.feast.get_online_features(service, [{"customer_id": 1}]).to_dict()
    assert answer["value"] == [0.5]
    shop.clock.move_to(to_us(NOW + timedelta(days=3)))
    assert shop.feast.get_online_features(service, [{"customer_id": 1}]).to_dict()["value"] == [None]
    assert shop.online.write_precomputed_vector(shop.feast.config, "ready", "shop", entity(), b"x") is None


def test_the_store_is_found_by_its_name_in_the_configuration(shop: Shop) -> None:
    again = FeatureStore(config=shop.feast.config)
    assert type(again.provider.online_store) is type(shop.online)
    assert again.provider.async_supported.online.model_dump() == {"read": True, "write": True}
