"""What `feast init` writes runs on our stores once its settings name them, as the how-to page says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
import yaml
from feast import FeatureStore
from feast.data_source import PushMode
from feast.repo_operations import init_repo

from knownat.clock import SystemClock, from_us

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-in-a-feast-repo.md"
STATS = ["conv_rate", "acc_rate", "avg_daily_trips"]
STORED = [*STATS, "driver_metadata", "driver_config", "driver_profile"]
COMPUTED = ["transformed_conv_rate:conv_rate_plus_val1", "transformed_conv_rate:conv_rate_plus_val2"]


def sections_of_the_page() -> dict[str, Any]:
    """The three sections, read from the page itself."""
    text = PAGE.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    sections: dict[str, Any] = yaml.safe_load(text)
    return sections


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feast's own template with our three sections, applied by Feast's own command."""
    folder = tmp_path_factory.mktemp("template")
    before = Path.cwd()
    os.chdir(folder)
    try:
        init_repo("drivers", "local")
    finally:
        os.chdir(before)
    repo = folder / "drivers" / "feature_repo"
    settings = repo / "feature_store.yaml"
    stock = yaml.safe_load(settings.read_text())
    assert set(sections_of_the_page()) == {"offline_store", "online_store", "batch_engine"}
    settings.write_text(yaml.safe_dump(stock | sections_of_the_page()))
    feast = str(Path(sys.executable).with_name("feast"))
    applied = subprocess.run(
        [feast, "apply"], cwd=repo, capture_output=True, text=True, check=False, timeout=300
    )
    assert applied.returncode == 0, applied.stderr
    return repo


@pytest.fixture
def store(template: Path) -> FeatureStore:
    return FeatureStore(repo_path=str(template))


@pytest.fixture(scope="module")
def table(template: Path) -> pl.DataFrame:
    return pl.read_parquet(template / "data" / "driver_stats.parquet")


def newest(table: pl.DataFrame, drivers: list[int], by: Any = None) -> list[dict[str, Any]]:
    """The newest row of each driver, null if it is older than a day: found without the store."""
    rows = []
    for driver in drivers:
        mine = table.filter(pl.col("driver_id") == driver)
        if by is not None:
            mine = mine.filter(pl.col("event_timestamp").is_between(by - pd.Timedelta(days=1), by))
        mine = mine.sort("event_timestamp", "created")
        rows.append(mine.select(STORED).row(-1, named=True) if len(mine) else dict.fromkeys(STORED))
    return rows


def test_the_pages_sections_are_all_it_takes(store: FeatureStore) -> None:
    names = sorted(view.name for view in store.list_feature_views())
    assert names == ["driver_hourly_stats", "driver_hourly_stats_fresh"]
    assert [view.name for view in store.list_label_views()] == ["driver_quality_labels"]


def test_historical_reads_find_the_tables_own_values(store: FeatureStore, table: pl.DataFrame) -> None:
    times = [
        pd.Timestamp(t, tz="UTC") for t in ("2021-04-12 10:59:42", "2021-04-12 08:12:10", "2021-04-12 06:00")
    ]
    last = table["event_timestamp"].max()
    asked = pd.DataFrame(
        {
            "driver_id": [1001, 1002, 1003, 1004],
            "event_timestamp": [*times, pd.Timestamp(last)],
            "satisfaction": [1, 5, 3, 2],
            "val_to_add": [1, 2, 3, 4],
            "val_to_add_2": [10, 20, 30, 40],
        }
    )
    features = [*(f"driver_hourly_stats:{name}" for name in STORED), *COMPUTED]
    found = store.get_historical_features(entity_df=asked, features=features).to_arrow().to_pylist()
    expected = [
        newest(table, [d], t)[0] for d, t in zip(asked["driver_id"], asked["event_timestamp"], strict=True)
    ]
    assert [{name: row[name] for name in STORED} for row in found] == expected
    assert expected[0]["conv_rate"] is not None
    assert expected[2]["conv_rate"] is None
    assert found[3]["conv_rate_plus_val2"] == pytest.approx(expected[3]["conv_rate"] + 40)
    assert [row["satisfaction"] for row in found] == [1, 5, 3, 2]


def test_what_became_known_today_was_not_known_in_2021(store: FeatureStore) -> None:
    asked = pd.DataFrame(
        {"driver_id": [1001], "event_timestamp": [pd.Timestamp("2021-04-12 10:59:42", tz="UTC")]}
    )
    features = ["driver_hourly_stats:conv_rate"]
    assert (
        store.get_historical_features(entity_df=asked, features=features).to_df()["conv_rate"].notna().all()
    )
    cut = store.get_historical_features(entity_df=asked, features=features, filter_by_created_timestamp=True)
    assert cut.to_df()["conv_rate"].isna().all()


def test_labels_are_pushed_and_found_like_features(store: FeatureStore) -> None:
    now = from_us(SystemClock().now_us())
    asked = pd.DataFrame({"driver_id": [1001, 1002], "event_timestamp": [now, now]})
    label = {
        "driver_id": 1001,
        "is_reliable": 1,
        "quality_score": 0.5,
        "reviewer_notes": "ok",
        "labeler": "ann",
    }
    pushed = pd.DataFrame([{**label, "event_timestamp": now}])
    store.push("driver_quality_labels_push", pushed, to=PushMode.OFFLINE)
    found = store.get_historical_features(entity_df=asked, features=["driver_quality_labels:is_reliable"])
    assert found.to_arrow()["is_reliable"].to_pylist() == [1, None]


def test_materialized_values_are_served_and_a_push_replaces_them(
    store: FeatureStore, table: pl.DataFrame
) -> None:
    now = from_us(SystemClock().now_us())
    store.materialize_incremental(end_date=now)
    drivers = [1001, 1002, 9999]
    rows = [{"driver_id": driver, "val_to_add": 1, "val_to_add_2": 2} for driver in drivers]
    features = [f"driver_hourly_stats:{name}" for name in STATS] + COMPUTED
    served = store.get_online_features(features=features, entity_rows=rows).to_dict()
    expected = newest(table, drivers[:2])
    for name in STATS:
        assert served[name] == [*(row[name] for row in expected), None]
    assert served["conv_rate_plus_val1"][0] == pytest.approx(expected[0]["conv_rate"] + 1)

    pushed = {**newest(table, [1001])[0], "driver_id": 1001, "event_timestamp": now, "created": now}
    event = pd.DataFrame([{**pushed, "conv_rate": 1.0, "acc_rate": 0.5, "avg_daily_trips": 1000}])
    store.push("driver_stats_push_source", event, to=PushMode.ONLINE_AND_OFFLINE)
    fresh = store.get_online_features(
        features=store.get_feature_service("driver_activity_v3"), entity_rows=rows
    )
    assert fresh.to_dict()["avg_daily_trips"] == [1000, expected[1]["avg_daily_trips"], None]
    asked = pd.DataFrame({"driver_id": [1001], "event_timestamp": [now]})
    found = store.get_historical_features(entity_df=asked, features=["driver_hourly_stats:avg_daily_trips"])
    assert found.to_df()["avg_daily_trips"].tolist() == [1000]
