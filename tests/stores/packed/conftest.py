"""Both stores, empty, under one name, so that every law is checked on each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from knownat.stores.lmdb_rows import open_lmdb
from knownat.stores.redis_rows import RedisRows
from knownat.stores.rows import RowStore
from tests.stores.packed.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(params=["lmdb", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RowStore]:
    rows: RowStore
    if request.param == "lmdb":
        rows = open_lmdb(tmp_path / "rows")
    else:
        # A busy machine is no fault: deadlines are tested in tests/faults.
        url = request.getfixturevalue("redis_url")
        rows = RedisRows(url, socket_seconds=10, read_deadline_seconds=10)
        rows.delete_project("shop")
    yield rows
    rows.close()
