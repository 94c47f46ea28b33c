"""Online reads: equal to the replay, strict about keys, honest about age and absence."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from feast import FeatureStore
from feast.feature_view import FeatureViewState
from feast.protos.feast.types.Value_pb2 import Value

from knownat.clock import from_us, to_us
from knownat.contract.read_plan import ReadPlan, ReadResult, Status
from knownat.errors import BadKey, RepoError
from knownat.stores.history import replay_frame
from knownat.stores.materialization import materialize
from knownat.stores.online import FeastReader, open_reader
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import Repo, load_config, open_repo
from tests.stores import shop
from tests.stores.online_stores import FEAST_SQLITE, LMDB, use_online_store
from tests.stores.test_offline import write_orders

MOMENT = pa.timestamp("us", tz="UTC")
KEYS = {"customer_id": [*shop.CUSTOMERS, 999, None, 1], "home_region": [*shop.REGIONS * 4, "x", None, "Süd"]}


@pytest.fixture
def own(shop_copy: Path) -> Repo:
    """The shop on another online store than ours."""
    return open_repo(use_online_store(shop_copy, FEAST_SQLITE))


@pytest.fixture(params=[LMDB, FEAST_SQLITE], ids=["packed rows", "through Feast"])
def either(request: pytest.FixtureRequest, shop_copy: Path) -> Repo:
    return open_repo(use_online_store(shop_copy, request.param))


def churn(repo: Repo) -> ReadPlan:
    return compile_read_plan(repo, "churn")[0]


def expect(repo: Repo, plan: ReadPlan, *, now_us: int, written_us: int) -> pa.Table:
    count = len(KEYS["customer_id"])
    asked = pa.table(
        {
            "customer_id": pa.array(KEYS["customer_id"], pa.int64()),
            "home_region": pa.array(KEYS["home_region"], pa.string()),
            "event_timestamp": pa.array([now_us] * count, MOMENT),
            "known_at": pa.array([written_us] * count, MOMENT),
        }
    )
    return replay_frame(repo, asked, plan)


def check_same(result: ReadResult, replayed: pa.Table) -> None:
    for name, values in result.values.items():
        assert values == replayed[name].to_pylist(), name
    for view, status in result.status.items():
        assert status == replayed[f"{view}__status"].to_pylist()
        for side, times in (("event", result.event_us), ("created", result.created_us)):
            assert times[view] == replayed[f"{view}__{side}_timestamp"].cast(pa.int64()).to_pylist()


def test_a_read_is_the_newest_row_visible_at_the_last_write_with_its_ttl_measured_now(either: Repo) -> None:
    dice = random.Random(3)
    plan = churn(either)
    written = to_us(shop.at(1))
    materialize(either, until=shop.at(1))
    reader = open_reader(either, plan)
    seen: set[Status] = set()
    for _ in range(24):
        written += dice.randrange(1, 12 * 3_600_000_000)
        materialize(either, until=from_us(written))
        now = written + dice.choice([0, 1, dice.randrange(3_600_000_000), -dice.randrange(3_600_000_000)])
        result = reader.read(KEYS, now)
        check_same(result, expect(either, plan, now_us=now, written_us=written))
        seen |= {state for states in result.status.values() for state in states}
    assert seen == {Status.PRESENT, Status.EXPIRED, Status.NOT_FOUND, Status.NOT_YET}


def test_a_row_expires_a_microsecond_after_its_ttl(either: Repo) -> None:
    write_orders(either.path, [(1, 10, 10, 5)])
    materialize(either, until=shop.at(11))
    reader = open_reader(either, compile_read_plan(either, "reach")[0])
    edge = to_us(shop.at(10 + 48))
    last, after = (reader.read({"customer_id": [1]}, edge + late) for late in (0, 1))
    assert (last.status, last.values["customer_orders__order_count_30d"]) == (
        {"customer_orders": [Status.PRESENT]},
        [5],
    )
    assert (after.status, after.values["customer_orders__order_count_30d"]) == (
        {"customer_orders": [Status.EXPIRED]},
        [None],
    )


@pytest.mark.parametrize("key", [1.0, 1.5, True, "1_0", "1", 10**30, float("nan")])
def test_no_key_is_coerced_into_another_entitys(either: Repo, key: object) -> None:
    materialize(either, until=shop.at(100))
    reader = open_reader(either, churn(either))
    with pytest.raises(BadKey, match=r"must be (a 64-bit integer|int64)"):
        reader.read({"customer_id": [1, key], "home_region": ["north", "north"]}, to_us(shop.at(100)))


def test_one_null_key_leaves_the_rest_of_the_batch_alone(either: Repo) -> None:
    materialize(either, until=shop.at(100))
    reader = open_reader(either, churn(either))
    result = reader.read({"customer_id": [None, 1], "home_region": ["north", None]}, to_us(shop.at(100)))
    assert result.status["customer_orders"][0] is Status.NOT_FOUND
    assert result.status["customer_orders"][1] is not Status.NOT_FOUND
    assert result.status["region_sales"] == [Status.PRESENT, Status.NOT_FOUND]


def test_nulls_of_1970_are_no_row_whatever_the_store_calls_them(
    own: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(own, until=shop.at(100))
    reader = FeastReader(own, compile_read_plan(own, "reach")[0])

    def as_redis_answers(
        config: object, table: object, keys: list[object], wanted: list[str]
    ) -> list[object]:
        return [(datetime(1970, 1, 1, tzinfo=UTC), {name: Value() for name in wanted}) for _ in keys]

    monkeypatch.setattr(own.store.provider, "online_read", as_redis_answers)
    result = reader.read({"customer_id": [999]}, to_us(shop.at(100)))
    assert result.status == {"customer_orders": [Status.NOT_FOUND]}
    assert result.event_us == {"customer_orders": [None]}


def test_a_store_that_cannot_be_asked_is_unavailable_and_not_empty(
    own: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(own, until=shop.at(100))
    reader = FeastReader(own, compile_read_plan(own, "reach")[0])

    def refuse(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(own.store.provider, "online_read", refuse)
    result = reader.read({"customer_id": [1]}, to_us(shop.at(100)))
    assert result.status == {"customer_orders": [Status.UNAVAILABLE]}


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_keep_their_microseconds_in_another_time_zone(
    own: Repo, request: pytest.FixtureRequest
) -> None:
    # 02:30 of 31 March does not exist in Berlin; hour 50.5 of the shop is that night.
    write_orders(own.path, [(1, 50.5, 50.5 + 1e-9, 7)])
    materialize(own, until=shop.at(60))
    request.getfixturevalue("berlin")
    reopened = open_repo(own.path)
    result = FeastReader(reopened, compile_read_plan(reopened, "reach")[0]).read(
        {"customer_id": [1]}, to_us(shop.at(60))
    )
    assert result.event_us == {"customer_orders": [to_us(shop.at(50.5))]}
    assert result.status == {"customer_orders": [Status.PRESENT]}


def test_times_that_depend_on_the_time_zone_are_not_believed_in_another(
    own: Repo, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(own, until=shop.at(100))
    reader = FeastReader(own, compile_read_plan(own, "reach")[0])

    def as_feasts_own_store(config: object, table: object, keys: list[object], wanted: list[str]) -> object:
        return [(shop.at(99), {"last_channel": Value(string_val="web")}) for _ in keys]

    monkeypatch.setattr(own.store.provider, "online_read", as_feasts_own_store)
    result = reader.read({"customer_id": [1]}, to_us(shop.at(100)))
    assert result.event_us == {"customer_orders": [to_us(shop.at(99))]}
    request.getfixturevalue("berlin")
    with pytest.raises(RepoError, match="Set TZ=UTC"):
        reader.read({"customer_id": [1]}, to_us(shop.at(100)))


def test_each_entity_of_a_batch_is_read_once(own: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    materialize(own, until=shop.at(100))
    reader = FeastReader(own, compile_read_plan(own, "reach")[0])
    provider, read = own.store.provider, []
    online_read = provider.online_read

    def count(config: object, table: object, keys: list[object], wanted: list[str]) -> object:
        read.append(len(keys))
        return online_read(config, table, keys, wanted)

    monkeypatch.setattr(provider, "online_read", count)
    result = reader.read({"customer_id": [1, 2, 1, 1]}, to_us(shop.at(100)))
    assert read == [2]
    first = result.values["customer_orders__order_count_30d"]
    assert first[0] == first[2] == first[3]


@pytest.mark.parametrize("kept_serving", [True, False])
def test_reads_go_on_while_a_view_is_materializing_because_the_repo_says_so(
    own: Repo, tmp_path: Path, kept_serving: bool
) -> None:
    materialize(own, until=shop.at(100))
    settings = load_config(own.path)
    assert settings.registry.serve_features_while_materializing
    settings.registry_config = {
        "registry_type": "file",
        "path": str(tmp_path / "registry.pb"),
        "serve_features_while_materializing": kept_serving,
    }
    settings._registry = None
    on_file = FeatureStore(config=settings)
    view = own.store.get_feature_view("customer_orders")
    on_file.apply([own.store.get_entity("customer"), view.batch_source, view])
    view = on_file.get_feature_view("customer_orders")
    view.state = FeatureViewState.MATERIALIZING
    on_file.registry.apply_feature_view(view, on_file.project)
    ask = {"features": ["customer_orders:order_count_30d"], "entity_rows": [{"customer_id": 1}]}
    if kept_serving:
        assert on_file.get_online_features(**ask).to_dict()["order_count_30d"] != [None]
    else:
        with pytest.raises(Exception, match=r"(?i)materializing"):
            on_file.get_online_features(**ask)
