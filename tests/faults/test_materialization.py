"""A materialization that is killed leaves whole rows, no watermark it has not earned, and can go on."""

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from knownat.clock import from_us, to_us
from knownat.stores.codec import is_intact
from knownat.stores.codec_read import row_times
from knownat.stores.materialization import online_views
from knownat.stores.packed_reads import view_name
from knownat.stores.repo import Repo, apply_repo, open_repo
from knownat.stores.rows import RowStore
from tests.faults.materializer import started, step
from tests.soak import scale
from tests.stores import shop
from tests.stores.online_stores import LMDB, ours_in_redis, use_online_store
from tests.stores.packed.redis_server import RedisServer

STEPS = [to_us(shop.at(hour)) for hour in (20, 40, 60, 80)]
Rows = dict[bytes, bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    apply_repo(path)
    return path


@pytest.fixture(scope="module", params=["lmdb", "redis"])
def repo(request: pytest.FixtureRequest, applied: Path, server: RedisServer) -> Repo:
    path = shutil.copytree(applied, applied.with_name(request.param))
    return open_repo(use_online_store(path, LMDB if request.param == "lmdb" else ours_in_redis(server)))


@pytest.fixture(scope="module")
def whole(repo: Repo) -> list[Rows]:
    """What the store holds after each step of a run that nobody kills."""
    states = []
    store = rows_of(repo)
    store.delete_project("shop")
    for until_us in STEPS:
        step(repo, from_us(until_us))
        states.append(content(repo, store))
    store.delete_project("shop")
    return states


def rows_of(repo: Repo) -> RowStore:
    store: RowStore = repo.store.provider.online_store.row_store(repo.store.config, create=True)
    return store


def content(repo: Repo, store: RowStore) -> Rows:
    return {k: row for v in online_views(repo) for k, row in store.scan(view_name(repo.store.config, v))}


def check_what_is_left(repo: Repo, store: RowStore, whole: list[Rows]) -> None:
    """Every row is whole and one of the history's; what a watermark vouches for is there."""
    found = content(repo, store)
    assert all(is_intact(key, row) for key, row in found.items())
    assert all(row in {state.get(key) for state in whole} for key, row in found.items())
    for view in online_views(repo):
        name = view_name(repo.store.config, view)
        mark = store.watermark(name)
        if mark is None:
            continue
        vouched = whole[STEPS.index(mark)]
        for key, row in vouched.items():
            if key.startswith(name.prefix):
                assert row_times(found[key]) >= row_times(row)


def check_that_it_goes_on(repo: Repo, store: RowStore, whole: list[Rows]) -> None:
    child = started(repo.path, [us for us in STEPS if us >= furthest(repo, store)])
    child.join(timeout=120)
    assert child.exitcode == 0
    assert content(repo, store) == whole[-1]
    store.delete_project("shop")


def furthest(repo: Repo, store: RowStore) -> int:
    marks = [store.watermark(view_name(repo.store.config, view)) for view in online_views(repo)]
    return max((mark for mark in marks if mark is not None), default=0)


# A step writes each of two views' rows and its watermark: four operations, before and after each.
@pytest.mark.parametrize("dies_at", range(0, scale(16, 32), scale(3, 1)))
def test_a_run_killed_around_any_operation_of_its_store_goes_on(
    repo: Repo, whole: list[Rows], dies_at: int
) -> None:
    child = started(repo.path, STEPS, dies_at)
    child.join(timeout=120)
    assert child.exitcode == -9
    store = rows_of(repo)
    check_what_is_left(repo, store, whole)
    check_that_it_goes_on(repo, store, whole)


@pytest.mark.parametrize("seed", range(scale(2, 40)))
def test_a_run_killed_at_any_time_goes_on(repo: Repo, whole: list[Rows], seed: int) -> None:
    child = started(repo.path, STEPS)
    time.sleep(random.Random(seed).uniform(0.2, 2.5))
    child.kill()
    child.join()
    store = rows_of(repo)
    check_what_is_left(repo, store, whole)
    check_that_it_goes_on(repo, store, whole)
