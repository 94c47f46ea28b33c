"""Stock ``feast materialize`` on our engine writes what became visible, whatever window it names."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from feast import FeatureStore
from tqdm import tqdm

from knownat.clock import SystemClock, from_us, to_us
from knownat.errors import RepoError
from knownat.stores.materialization import watermarks
from knownat.stores.online import open_reader
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import Repo, open_repo
from tests.stores import shop
from tests.stores.online_stores import FEAST_SQLITE, use_online_store
from tests.stores.test_offline import write_orders

VIEWS = ["customer_orders"]
NOW = datetime.now(UTC)


@pytest.fixture
def own(shop_copy: Path) -> Repo:
    return open_repo(shop_copy)


def served(repo: Repo, hour: float, customer: int = 1) -> object:
    reader = open_reader(repo, compile_read_plan(repo, "reach")[0])
    found = reader.read({"customer_id": [customer]}, to_us(shop.at(hour)))
    return found.values["customer_orders__order_count_30d"][0]


def write_now(repo: Repo, *ages: timedelta) -> None:
    """Write orders of one customer that happened and became known so long ago, counted 1, 2, ..."""
    hours = [(NOW - age - shop.START) / timedelta(hours=1) for age in ages]
    write_orders(repo.path, [(1, hour, hour, count) for count, hour in enumerate(hours, 1)])


@pytest.mark.parametrize("online", ["packed rows", "Feast's own store"])
def test_feasts_own_call_writes_what_was_visible_at_the_windows_end(shop_copy: Path, online: str) -> None:
    if online != "packed rows":
        use_online_store(shop_copy, FEAST_SQLITE)
    repo = open_repo(shop_copy)
    # Of 14:00, known at 15:00; a correction of 05:00 that became known at 16:00.
    write_orders(repo.path, [(1, 13, 14, 13), (1, 14, 15, 14), (2, 3, 3, 3), (2, 5, 16, 5)])
    repo.store.materialize(shop.at(0), shop.at(14.5), feature_views=VIEWS)
    assert (served(repo, 14.5, 1), served(repo, 14.5, 2)) == (13, 3)
    # The window begins after the event of what became known in it.
    repo.store.materialize(shop.at(15.5), shop.at(17), feature_views=VIEWS)
    assert (served(repo, 17, 1), served(repo, 17, 2)) == (14, 5)
    assert watermarks(repo) == {"customer_orders": shop.at(17)}


def test_a_repeated_or_older_window_changes_nothing(own: Repo) -> None:
    write_orders(own.path, [(1, 13, 14, 13), (1, 14, 15, 14)])
    for end in (16, 16, 14):
        own.store.materialize(shop.at(0), shop.at(end), feature_views=VIEWS)
    assert served(own, 16) == 14
    assert watermarks(own) == {"customer_orders": shop.at(16)}


def test_incremental_goes_on_from_the_watermark_and_finds_a_backfilled_row(own: Repo) -> None:
    write_now(own, timedelta(hours=5))
    own.store.materialize(NOW - timedelta(days=1), NOW - timedelta(hours=4), feature_views=VIEWS)
    early = (NOW - timedelta(days=1) - shop.START) / timedelta(hours=1)
    late = (NOW - timedelta(hours=1) - shop.START) / timedelta(hours=1)
    write_orders(own.path, [(1, early + 19, early + 19, 1), (2, early, late, 7)])
    own.store.materialize_incremental(NOW, feature_views=VIEWS)
    assert served(own, late, 2) == 7


def test_an_end_in_the_future_means_now(own: Repo) -> None:
    write_now(own, timedelta(hours=1), timedelta(hours=-1))
    before = SystemClock().now_us()
    own.store.materialize(NOW - timedelta(days=1), NOW + timedelta(days=1), feature_views=VIEWS)
    (reached,) = watermarks(own).values()
    assert from_us(before) <= reached <= from_us(SystemClock().now_us())
    assert served(own, (NOW - shop.START) / timedelta(hours=1)) == 1


def test_an_inverted_interval_is_refused_and_not_recorded(own: Repo) -> None:
    with pytest.raises(RepoError, match=r"interval from .* to 2024-03-30.* is inverted"):
        own.store.materialize_incremental(shop.at(24), feature_views=VIEWS)
    assert watermarks(own) == {}
    assert own.store.get_feature_view("customer_orders").materialization_intervals == []


def test_without_event_times_every_row_is_considered_again(own: Repo) -> None:
    write_orders(own.path, [(1, 13, 14, 13)])
    own.store.materialize(shop.at(0), shop.at(20), feature_views=VIEWS)
    # What was appended later, but says it was known before, is no news to an incremental run.
    write_orders(own.path, [(1, 13, 14, 13), (2, 3, 3, 3)])
    own.store.materialize(shop.at(0), shop.at(21), feature_views=VIEWS)
    assert served(own, 21, 2) is None
    own.store.materialize(shop.at(0), shop.at(21), feature_views=VIEWS, disable_event_timestamp=True)
    assert served(own, 21, 2) == 3


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Totals and last counts of every bar that was closed."""
    closed: list[tuple[int, int]] = []
    close = tqdm.close

    def remember(bar: "tqdm[object]") -> None:
        if not bar.disable:
            closed.append((bar.total or 0, bar.n))
        close(bar)

    monkeypatch.setattr(tqdm, "close", remember)
    return closed


def test_progress_counts_the_entities(own: Repo, bars: list[tuple[int, int]]) -> None:
    write_orders(own.path, [(c, 13, 14, c) for c in range(1, 8)])
    own.store.materialize(shop.at(0), shop.at(20), feature_views=VIEWS)
    assert bars[0] == (7, 7)


def test_the_feast_command_materializes_in_a_stock_repo(shop_copy: Path) -> None:
    write_orders(shop_copy, [(1, 13, 14, 13), (1, 14, 15, 14)])
    words = ["materialize", "2024-03-29T00:00:00", "2024-03-29T14:30:00"]
    feast = Path(sys.executable).with_name("feast")
    done = subprocess.run([feast, *words], cwd=shop_copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert served(open_repo(shop_copy), 14.5) == 13


def test_the_settings_name_it(shop_copy: Path) -> None:
    settings = yaml.safe_load((shop_copy / "feature_store.yaml").read_text())
    settings["batch_engine"] = "knownat.stores.compute.VisibleComputeEngine"
    (shop_copy / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    store = FeatureStore(repo_path=str(shop_copy))
    assert type(store._get_provider().batch_engine).__name__ == "VisibleComputeEngine"
