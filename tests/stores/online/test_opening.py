"""How the packed stores are opened: by configuration, once a process, and never by looking."""

import asyncio
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore
from feast.repo_config import RepoConfig
from pydantic import ValidationError

from knownat.clock import FileClock, SystemClock
from knownat.errors import ConfigError, StoreUnavailable
from knownat.stores.lmdb_online import LmdbOnlineStore, LmdbOnlineStoreConfig
from knownat.stores.lmdb_rows import LmdbRows
from knownat.stores.redis_online import RedisOnlineStore, RedisOnlineStoreConfig
from tests.stores.online.shop_views import Shop, order_rows

LMDB = "knownat.stores.lmdb_online.LmdbOnlineStore"
REDIS = "knownat.stores.redis_online.RedisOnlineStore"


def configured(folder: Path | None, **online: Any) -> RepoConfig:
    return RepoConfig(
        project="shop",
        provider="local",
        registry="registry.db",
        online_store=online,
        entity_key_serialization_version=3,
        repo_path=folder,
    )


def test_the_folder_is_the_repos_wherever_the_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    store, config = LmdbOnlineStore(), configured(tmp_path, type=LMDB, path="data/rows")
    rows = store.row_store(config, create=True)
    assert isinstance(rows, LmdbRows)
    assert rows.path == tmp_path / "data" / "rows"
    assert store.row_store(config) is rows
    with pytest.raises(ConfigError, match="relative and there is no repo folder"):
        LmdbOnlineStore().row_store(configured(None, type=LMDB))


def test_a_store_that_is_not_there_does_not_look_empty(tmp_path: Path) -> None:
    store, config = LmdbOnlineStore(), configured(tmp_path, type=LMDB)
    with pytest.raises(StoreUnavailable, match=r"no online store in .*/data/online_rows"):
        store.row_store(config)
    with pytest.raises(StoreUnavailable):
        asyncio.run(store.initialize(config))
    assert not (tmp_path / "data").exists()
    store.update(config, [], [], [], [], partial=True)
    assert (tmp_path / "data" / "online_rows" / "data.mdb").exists()
    assert store.row_store(config).read([b"k"]) == [None]


def test_two_feast_stores_of_one_process_share_one_environment(tmp_path: Path) -> None:
    config = configured(tmp_path, type=LMDB)
    one, two = LmdbOnlineStore(), LmdbOnlineStore()
    assert one.row_store(config, create=True) is two.row_store(config)
    asyncio.run(one.close())
    assert two.row_store(config).read([b"k"]) == [None]
    asyncio.run(one.close())
    assert one.row_store(config) is two.row_store(config)


def test_a_dropped_store_lets_go_of_its_folder(tmp_path: Path) -> None:
    config = configured(tmp_path, type=LMDB)
    store = LmdbOnlineStore()
    rows = store.row_store(config, create=True)
    del store
    with pytest.raises(StoreUnavailable):
        rows.read([b"k"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_opens_the_store_itself(shop: Shop) -> None:
    shop.write("orders", **order_rows([1]))
    mine = shop.online.row_store(shop.feast.config)
    fork = multiprocessing.get_context("fork")
    receive, send = fork.Pipe(duplex=False)

    def child() -> None:
        apart = shop.online.row_store(shop.feast.config) is not mine
        send.send((apart, shop.ask(["orders:value"], customer_id=[1])["value"]))

    process = fork.Process(target=child)
    process.start()
    assert receive.poll(60)
    assert receive.recv() == (True, [0.5])
    process.join()
    assert process.exitcode == 0
    assert shop.ask(["orders:value"], customer_id=[1])["value"] == [0.5]


def test_options_are_typed_and_unknown_ones_refused() -> None:
    assert LmdbOnlineStoreConfig().path == "data/online_rows"
    assert RedisOnlineStoreConfig().read_deadline_seconds == 0.1
    for wrong in ({"map_bytes": 0}, {"pth": "x"}, {"clock": 5}):
        with pytest.raises(ValidationError):
            LmdbOnlineStoreConfig(**wrong)
    with pytest.raises(ValidationError):
        RedisOnlineStoreConfig(socket_seconds=-1)


def test_a_store_goes_by_the_clock_of_its_configuration(tmp_path: Path) -> None:
    store = RedisOnlineStore()
    assert isinstance(store.clock(configured(tmp_path, type=REDIS)), SystemClock)
    FileClock(tmp_path / "clock").move_to(5)
    config = configured(tmp_path, type=REDIS, clock="file:clock")
    assert store.clock(config).now_us() == 5
    assert store.clock(config) is store.clock(config)
    with pytest.raises(ConfigError, match="'yesterday' names no clock"):
        store.clock(configured(tmp_path, type=REDIS, clock="yesterday"))


def test_a_wrong_address_is_named_at_the_first_use(tmp_path: Path) -> None:
    config = configured(tmp_path, type=REDIS, connection_string="a:1,b:2")
    feast = FeatureStore(config=config)
    with pytest.raises(ConfigError, match="names 2 servers"):
        asyncio.run(feast.provider.online_store.initialize(config))
