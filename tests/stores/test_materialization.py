"""The online store is filled by visible time, forward only, and never with what nobody knew."""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from knownat.clock import FixedClock, from_us, to_us
from knownat.contract.read_plan import ReadPlan, Status
from knownat.errors import RepoError
from knownat.stores.materialization import BEGINNING, clear_online, materialize, watermarks
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import Repo, open_repo
from knownat.stores.sources import exclusive, feature_table
from knownat.stores.targets import FeastTarget, PackedTarget, open_target
from tests.stores import shop
from tests.stores.online_stores import (
    FEAST_SQLITE,
    LMDB,
    feasts_in_redis,
    ours_in_redis,
    read,
    use_online_store,
)
from tests.stores.packed.redis_server import RedisServer
from tests.stores.test_offline import write_orders

VIEWS = ["customer_orders"]
END = to_us(shop.at(31))


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own(shop_copy: Path) -> Repo:
    return open_repo(shop_copy)


@pytest.fixture(params=["lmdb", "redis", "feast's sqlite", "feast's redis"])
def anywhere(request: pytest.FixtureRequest, shop_copy: Path) -> Repo:
    """The shop on each kind of store: ours, and any other through Feast's API."""
    if request.param == "lmdb":
        return open_repo(use_online_store(shop_copy, LMDB))
    if request.param == "feast's sqlite":
        return open_repo(use_online_store(shop_copy, FEAST_SQLITE))
    server: RedisServer = request.getfixturevalue("redis_server")
    online = ours_in_redis(server) if request.param == "redis" else feasts_in_redis(server)
    redis.Redis.from_url(server.url).flushall()
    return open_repo(use_online_store(shop_copy, online))


def reach(repo: Repo) -> ReadPlan:
    return compile_read_plan(repo, "reach")[0]


def served(repo: Repo, hour: float, customer: int = 1) -> object:
    result = read(repo, reach(repo), to_us(shop.at(hour)), customer_id=customer)
    return result.values["customer_orders__order_count_30d"][0]


def step(repo: Repo, hour: float) -> int:
    (done,) = materialize(repo, until=shop.at(hour), views=VIEWS)
    return done.rows


def test_a_value_is_served_from_when_it_was_known_and_by_its_exact_times(anywhere: Repo) -> None:
    # The report of 14:00 is known at 15:00, and a fraction of a second later.
    write_orders(anywhere.path, [(1, 13, 14, 13), (1, 14, 15.0000001, 14), (2, 3, 3, 3)])
    assert step(anywhere, 15) == 2
    assert (served(anywhere, 15, 1), served(anywhere, 15, 2), served(anywhere, 15, 9)) == (13, 3, None)
    assert step(anywhere, 15.5) == 1
    result = read(anywhere, reach(anywhere), to_us(shop.at(16)), customer_id=1)
    assert result.values["customer_orders__order_count_30d"] == [14]
    assert result.event_us == {"customer_orders": [to_us(shop.at(14))]}
    assert result.created_us == {"customer_orders": [to_us(shop.at(15.0000001))]}


def test_late_and_backfilled_rows_follow_the_newest_event(anywhere: Repo) -> None:
    write_orders(anywhere.path, [(1, 5, 30, 5), (2, 20, 20, 20), (2, 6, 30, 6)])
    assert step(anywhere, 24) == 1
    assert step(anywhere, 30) == 2
    assert (served(anywhere, 30, 1), served(anywhere, 30, 2)) == (5, 20)
    assert step(anywhere, 31) == 0


def test_a_view_whose_features_changed_is_filled_again(anywhere: Repo) -> None:
    write_orders(anywhere.path, [(1, 5, 5, 5)])
    step(anywhere, 24)
    view = anywhere.store.get_feature_view("customer_orders")
    view.features = [field for field in view.features if field.name != "is_member"]
    anywhere.store.registry.apply_feature_view(view, anywhere.store.project)
    changed = open_repo(anywhere.path)
    assert watermarks(changed) == {}
    assert step(changed, 25) == 1
    assert watermarks(changed) == {"customer_orders": shop.at(25)}


def test_what_describes_a_view_does_not_start_it_again(own: Repo) -> None:
    write_orders(own.path, [(1, 5, 5, 5)])
    step(own, 24)
    view = own.store.get_feature_view("customer_orders")
    view.batch_source.description, view.description, view.tags = "Orders", "What they bought", {"team": "x"}
    own.store.registry.apply_feature_view(view, own.store.project)
    assert step(open_repo(own.path), 25) == 0


def test_each_step_starts_where_the_last_one_ended(own: Repo) -> None:
    first = materialize(own, until=shop.at(24))
    second = materialize(own, until=shop.at(25))
    assert [(d.start, d.end) for d in first] == [(BEGINNING, shop.at(24))] * 2
    assert [(d.start, d.end) for d in second] == [(shop.at(24), shop.at(25))] * 2
    assert watermarks(own) == {"customer_orders": shop.at(25), "region_sales": shop.at(25)}
    assert [d.rows for d in materialize(own, until=shop.at(25))] == [0, 0]


def test_views_keep_watermarks_of_their_own_and_progress_counts_entities(own: Repo) -> None:
    told: list[tuple[str, int, int]] = []
    materialize(own, until=shop.at(5), views=VIEWS, progress=lambda *said: told.append(said))
    materialize(own, until=shop.at(9), progress=lambda *said: told.append(said))
    begun = [(name, entities) for name, rows, entities in told if not rows]
    assert [name for name, _ in begun] == ["customer_orders", "customer_orders", "region_sales"]
    assert sum(rows for _, rows, _ in told) == sum(entities for _, entities in begun) > 0
    with pytest.raises(RepoError, match=r"no online views \['other'\]; .*'region_sales'"):
        materialize(own, until=shop.at(9), views=["other"])


def test_going_backwards_is_refused_until_the_store_is_cleared(own: Repo) -> None:
    step(own, 24)
    with pytest.raises(RepoError, match=r"views \['customer_orders'\] are already further"):
        step(own, 23)
    clear_online(own)
    assert watermarks(own) == {}
    step(own, 23)
    assert watermarks(own) == {"customer_orders": shop.at(23)}


def test_the_future_is_refused_beyond_the_clock_skew(own: Repo) -> None:
    clock = FixedClock(to_us(shop.at(24)))
    with pytest.raises(RepoError, match="it is only 2024-03-30T00:00:00"):
        materialize(own, until=from_us(clock.now_us() + 1_000_001), clock=clock)
    materialize(own, until=from_us(clock.now_us() + 1_000_000), clock=clock)


def test_a_deleted_online_store_is_filled_again_from_the_beginning(shop_copy: Path) -> None:
    write_orders(shop_copy, [(1, 5, 5, 5)])
    step(open_repo(shop_copy), 24)
    shutil.rmtree(shop_copy / "data" / "online_rows")
    again = open_repo(shop_copy)
    step(again, 25)
    assert served(again, 25) == 5


def test_rows_without_their_watermark_are_written_again_to_no_effect(own: Repo) -> None:
    write_orders(own.path, [(1, 5, 5, 5), (1, 6, 30, 6), (2, 7, 30, 7)])
    step(own, 24)
    view = own.store.get_feature_view("customer_orders")
    target = open_target(own.store.provider.online_store, own.store.config)
    found = target.find(feature_table(view, own.store.config), since_us=to_us(shop.at(24)), until_us=END)
    # A run that is killed now has written its rows and not its watermark.
    for batch in found.batches:
        target.write(view, batch, until_us=END, advance=lambda rows: None)
    assert isinstance(target, PackedTarget)
    rows = dict(target.rows.scan(target.name(view)))
    assert watermarks(own) == {"customer_orders": shop.at(24)}
    assert step(own, 31) == 2
    assert dict(target.rows.scan(target.name(view))) == rows


def test_a_reader_whose_clock_is_behind_is_told_and_gets_no_value_from_the_future(anywhere: Repo) -> None:
    write_orders(anywhere.path, [(1, 13, 14, 13)])
    step(anywhere, 15)
    known = to_us(shop.at(14))
    for behind_us, status, value in (
        (0, Status.PRESENT, 13),
        (1_000_000, Status.PRESENT, 13),
        (1_000_001, Status.NOT_YET, None),
    ):
        result = read(anywhere, reach(anywhere), known - behind_us, customer_id=[1, 1])
        assert result.status == {"customer_orders": [status] * 2}
        assert result.values["customer_orders__order_count_30d"] == [value] * 2
        assert result.event_us == {"customer_orders": [to_us(shop.at(13))] * 2}


def test_another_online_store_is_written_through_feasts_api(shop_copy: Path) -> None:
    repo = open_repo(use_online_store(shop_copy, FEAST_SQLITE))
    target = open_target(repo.store.provider.online_store, repo.store.config)
    assert isinstance(target, FeastTarget)
    assert target.mark(repo.store.get_feature_view("customer_orders")) is None


def test_two_runs_at_once_take_turns(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with exclusive(lock), lock.open() as second, pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open() as later:
        fcntl.flock(later, fcntl.LOCK_EX | fcntl.LOCK_NB)
