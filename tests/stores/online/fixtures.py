"""A shop on each online store; its rows are cleared between tests, its registry is not."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from knownat.clock import to_us
from tests.stores.online.shop_views import NOW, Shop, open_shop
from tests.stores.packed.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session", params=["lmdb", "redis"])
def opened_shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp(f"{request.param}-shop")
    if request.param == "lmdb":
        online: dict[str, Any] = {"type": "knownat.stores.lmdb_online.LmdbOnlineStore", "path": "rows"}
    else:
        server: RedisServer = request.getfixturevalue("redis")
        online = {
            "type": "knownat.stores.redis_online.RedisOnlineStore",
            "connection_string": f"127.0.0.1:{server.port},db=1",
            # A busy machine is no fault: deadlines are tested in tests/faults.
            "socket_seconds": 10,
            "read_deadline_seconds": 10,
        }
    shop = open_shop(folder, online)
    yield shop
    asyncio.run(shop.feast.close())


@pytest.fixture
def shop(opened_shop: Shop) -> Shop:
    opened_shop.clock.move_to(to_us(NOW))
    opened_shop.online.row_store(opened_shop.feast.config, create=True).delete_project("shop")
    return opened_shop
