"""The online store is filled by visible time, forward only, and never with what nobody knew."""

import fcntl
import sqlite3
from pathlib import Path

import pytest
from feast.protos.feast.types.Value_pb2 import Value

from knownat.clock import FixedClock, from_us, to_us
from knownat.contract.read_plan import ReadPlan
from knownat.errors import RepoError
from knownat.stores.materialization import BEGINNING, clear_online, materialize, watermarks
from knownat.stores.online import FeastReader
from knownat.stores.online_rows import entity_key, key_types
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import Repo, open_repo
from knownat.stores.sources import exclusive
from tests.stores import shop
from tests.stores.test_offline import write_orders

VIEWS = ["customer_orders"]


@pytest.fixture
def own(shop_copy: Path) -> Repo:
    return open_repo(shop_copy)


def reach(repo: Repo) -> ReadPlan:
    return compile_read_plan(repo, "reach")[0]


def served(repo: Repo, hour: float, customer: int = 1) -> object:
    result = FeastReader(repo, reach(repo)).read({"customer_id": [customer]}, to_us(shop.at(hour)))
    return result.values["customer_orders__order_count_30d"][0]


def step(repo: Repo, hour: float) -> int:
    (done,) = materialize(repo, until=shop.at(hour), views=VIEWS)
    return done.rows


def test_a_value_is_not_served_before_it_was_known(own: Repo) -> None:
    # The report of 14:00 is known at 15:00.
    write_orders(own.path, [(1, 13, 14, 13), (1, 14, 15, 14)])
    step(own, 14.5)
    assert served(own, 14.5) == 13
    step(own, 15)
    assert served(own, 15) == 14


def test_a_backfilled_row_reaches_the_online_store_once_it_is_known(own: Repo) -> None:
    write_orders(own.path, [(1, 5, 30, 5), (2, 20, 20, 20)])
    assert step(own, 24) == 1
    assert step(own, 30) == 1
    assert served(own, 30) == 5


def test_a_late_row_with_an_older_event_does_not_replace_a_newer_one(own: Repo) -> None:
    write_orders(own.path, [(1, 20, 20, 20), (1, 5, 30, 5)])
    step(own, 24)
    step(own, 30)
    assert served(own, 30) == 20


def test_each_step_starts_where_the_last_one_ended(own: Repo) -> None:
    first = materialize(own, until=shop.at(24))
    second = materialize(own, until=shop.at(25))
    assert [(d.start, d.end) for d in first] == [(BEGINNING, shop.at(24))] * 2
    assert [(d.start, d.end) for d in second] == [(shop.at(24), shop.at(25))] * 2
    assert watermarks(own) == {"customer_orders": shop.at(25), "region_sales": shop.at(25)}
    assert [d.rows for d in materialize(own, until=shop.at(25))] == [0, 0]


def test_views_keep_watermarks_of_their_own(own: Repo) -> None:
    named: list[str] = []
    materialize(own, until=shop.at(5), views=VIEWS, progress=named.append)
    materialize(own, until=shop.at(9), progress=named.append)
    assert named == ["customer_orders", "customer_orders", "region_sales"]
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


def test_a_deleted_online_store_is_filled_again_from_the_beginning(own: Repo) -> None:
    write_orders(own.path, [(1, 5, 5, 5)])
    step(own, 24)
    for file in (own.path / "data").glob("online_store.db*"):
        file.unlink()
    again = open_repo(own.path)
    with pytest.raises(RepoError, match=r"\['customer_orders'\] have no online rows"):
        FeastReader(again, reach(again))
    step(again, 25)
    assert served(again, 25) == 5


def test_a_view_whose_features_changed_is_filled_again(own: Repo) -> None:
    write_orders(own.path, [(1, 5, 5, 5)])
    step(own, 24)
    view = own.store.get_feature_view("customer_orders")
    view.features = [field for field in view.features if field.name != "is_member"]
    own.store.registry.apply_feature_view(view, own.store.project)
    assert step(open_repo(own.path), 25) == 1


def test_a_killed_write_leaves_neither_rows_nor_watermark(own: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    write_orders(own.path, [(c, 5, 5, c) for c in range(1, 200)])
    step(own, 1)
    store = type(own.store.provider.online_store)
    stored = store._get_conn(own.store.provider.online_store, own.store.config)
    rows = stored.execute("SELECT count(*) FROM shop_customer_orders").fetchone()
    # A trigger stands for the kill: the connection fails in the middle of the batch.
    stored.execute(
        "CREATE TRIGGER kill BEFORE INSERT ON shop_customer_orders WHEN "
        "(SELECT count(*) FROM shop_customer_orders) > 300 BEGIN SELECT RAISE(FAIL, 'killed'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="killed"):
        step(own, 24)
    assert stored.execute("SELECT count(*) FROM shop_customer_orders").fetchone() == rows
    assert watermarks(own) == {"customer_orders": shop.at(1)}


def test_an_older_or_repeated_write_does_not_undo_a_newer_one(own: Repo) -> None:
    view = own.store.get_feature_view("customer_orders")
    key = entity_key([1], key_types(view))
    write_orders(own.path, [(1, 1, 1, 1)])
    step(own, 2)
    writes = [(10, 10, "newest"), (10, 10, "newest"), (8, 20, "older event"), (10, 9, "known before")]
    for event, created, channel in writes:
        row = (key, {"last_channel": Value(string_val=channel)}, shop.at(event), shop.at(created))
        own.store.provider.online_write_batch(own.store.config, view, [row], None)
    result = FeastReader(own, reach(own)).read({"customer_id": [1]}, to_us(shop.at(11)))
    assert result.values["customer_orders__last_channel"] == ["newest"]


def test_a_row_of_2099_is_refused_at_the_door(own: Repo) -> None:
    view = own.store.get_feature_view("customer_orders")
    late = (entity_key([1], key_types(view)), {}, from_us(4_070_908_800_000_000), None)
    with pytest.raises(RepoError, match="1 rows are later than now, the latest of 2099-01-01"):
        own.store.provider.online_write_batch(own.store.config, view, [late], None)


def test_feasts_own_materialize_writes_the_same_rows(own: Repo) -> None:
    write_orders(own.path, [(1, 13, 14, 13), (1, 14, 15, 14), (2, 3, 3, 3)])
    step(own, 0)
    own.store.materialize(shop.at(0), shop.at(14.5), feature_views=VIEWS, disable_event_timestamp=False)
    assert (served(own, 14.5, 1), served(own, 14.5, 2)) == (13, 3)


def test_a_step_does_not_wait_for_a_reader_in_the_middle_of_its_read(own: Repo) -> None:
    step(own, 24)
    reader = sqlite3.connect(own.path / "data" / "online_store.db", isolation_level=None)
    reader.execute("BEGIN")
    count = "SELECT count(*) FROM shop_customer_orders"
    before = reader.execute(count).fetchone()
    step(own, 48)
    assert reader.execute(count).fetchone() == before
    reader.execute("COMMIT")
    assert reader.execute(count).fetchone() >= before
    reader.close()


def test_two_runs_at_once_take_turns(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with exclusive(lock), lock.open() as second, pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open() as later:
        fcntl.flock(later, fcntl.LOCK_EX | fcntl.LOCK_NB)
