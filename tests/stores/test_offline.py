"""The plug-in through Feast's own interface, where Feast's stores go wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

from knownat.errors import ConfigError, RepoError, RowsNotConserved
from knownat.stores.history import historical_frame, replay_frame
from knownat.stores.offline import AsOfOfflineStore
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import Repo, load_config, open_repo
from tests.stores import shop

FEATURES = ["customer_orders:order_count_30d", "customer_orders:last_channel"]
US = pa.timestamp("us", tz="UTC")


def write_orders(repo: Path, rows: list[tuple[int, float, float, int]]) -> None:
    """Replace the orders by (customer, event hour, created hour, count)."""
    columns = list(zip(*rows, strict=True))
    count = len(rows)
    table = pa.table(
        {
            "customer_id": pa.array(columns[0], pa.int64()),
            "event_timestamp": pa.array([shop.at(h) for h in columns[1]], US),
            "created_timestamp": pa.array([shop.at(h) for h in columns[2]], US),
            "order_count_30d": pa.array(columns[3], pa.int64()),
            "order_value_eur_30d": pa.nulls(count, pa.float64()),
            "last_channel": pa.array(["web"] * count),
            "is_member": pa.nulls(count, pa.bool_()),
            "last_order_us": pa.nulls(count, pa.int64()),
        }
    )
    pq.write_table(table, repo / "data" / "orders.parquet")


def ask(store: FeatureStore, questions: list[tuple[int, float]], **options: Any) -> pd.DataFrame:
    customers, hours = zip(*questions, strict=True)
    entity_df = pd.DataFrame({"customer_id": customers, "event_timestamp": [shop.at(h) for h in hours]})
    return store.get_historical_features(entity_df=entity_df, features=FEATURES, **options).to_df()


def test_no_example_is_dropped_and_none_changes_its_place(shop_copy: Path) -> None:
    write_orders(shop_copy, [(1, 10, 10, 5)])
    # Twice the same question, one before the first value, one after the ttl, one stranger.
    questions = [(1, 80.0), (1, 11.0), (1, 11.0), (1, 9.0), (9, 11.0)]
    counts = ask(open_repo(shop_copy).store, questions)["order_count_30d"]
    assert counts.fillna(-1).tolist() == [-1, 5, 5, -1, -1]


@pytest.mark.parametrize("examples", [2, 40])
def test_the_later_created_of_two_equal_events_wins_in_small_and_large_frames(
    shop_copy: Path, examples: int
) -> None:
    customers = range(1, 41)
    write_orders(shop_copy, [(c, 10, 10 + (c + k) % 2, (c + k) % 2) for c in customers for k in (0, 1)])
    found = ask(open_repo(shop_copy).store, [(c, 20.0) for c in customers][:examples])
    assert found["order_count_30d"].tolist() == [1] * examples


def test_a_value_is_used_only_once_it_was_known_if_feast_is_asked_so(shop_copy: Path) -> None:
    write_orders(shop_copy, [(1, 14, 15, 7)])
    store = open_repo(shop_copy).store
    cut = ask(store, [(1, 14.5), (1, 15.0)], filter_by_created_timestamp=True)["order_count_30d"]
    assert cut.fillna(-1).tolist() == [-1, 7]
    # Feast's default, and what its templates (created = now) rely on.
    assert ask(store, [(1, 14.5)])["order_count_30d"].tolist() == [7]


def test_paths_are_the_repos_and_not_the_working_folders(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = open_repo(repo.path)
    frame = historical_frame(elsewhere, shop.examples(50), "reach")
    assert frame.equals(historical_frame(repo, shop.examples(50), "reach"))
    assert list(tmp_path.iterdir()) == []


def test_nanosecond_tables_of_pandas_give_the_same_values(shop_copy: Path, repo: Repo) -> None:
    path = shop_copy / "data" / "orders.parquet"
    coarse = pl.read_parquet(path)
    fine = coarse.with_columns(pl.col("event_timestamp", "created_timestamp").cast(pl.Datetime("ns", "UTC")))
    fine.write_parquet(path)
    frame = historical_frame(open_repo(shop_copy), shop.examples(), "reach")
    assert frame.equals(historical_frame(repo, shop.examples(), "reach"))


def test_integers_beyond_doubles_survive_feasts_way_through_pandas(repo: Repo) -> None:
    counts = historical_frame(repo, shop.examples(), "reach")["customer_orders__order_count_30d"]
    assert counts.type == pa.int64()
    assert counts.null_count
    assert any(value and value > 2**53 and value % 2 for value in counts.to_pylist())


@pytest.fixture
def duckdb_store(shop_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureStore]:
    """Open the shop with Feast's duckdb store, which needs to be in the repo's folder."""
    # It resolves full ties from run to run, so there are none to resolve here.
    path = shop_copy / "data" / "orders.parquet"
    times = ["customer_id", "event_timestamp", "created_timestamp"]
    pl.read_parquet(path).unique(times, keep="first", maintain_order=True).write_parquet(path)
    monkeypatch.chdir(shop_copy)
    settings = load_config(shop_copy)
    settings.offline_config = {"type": "duckdb"}
    return FeatureStore(config=settings)


# Ibis still calls what DuckDB has renamed.
@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
@pytest.mark.parametrize("cut_off", [True, False])
def test_feasts_duckdb_store_agrees_on_a_small_frame(duckdb_store: FeatureStore, cut_off: bool) -> None:
    asked = shop.examples(120).drop(["home_region", "note"]).to_pandas(types_mapper=pd.ArrowDtype)
    asked = asked.dropna().assign(row=range(len(asked.dropna())))
    asked["customer_id"] = asked["customer_id"].astype("int64")
    asked["event_timestamp"] = pd.to_datetime(asked["event_timestamp"]).astype("datetime64[us, UTC]")
    options = {"entity_df": asked, "features": FEATURES, "filter_by_created_timestamp": cut_off}
    theirs = duckdb_store.get_historical_features(**options).to_df().sort_values("row", ignore_index=True)
    ours = open_repo(Path.cwd()).store.get_historical_features(**options).to_df()
    pd.testing.assert_frame_equal(ours[theirs.columns], theirs, check_dtype=False)


def test_a_materialization_by_feast_itself_is_one_of_visible_time(shop_copy: Path) -> None:
    store = open_repo(shop_copy).store
    write_orders(shop_copy, [(1, 10, 10, 1), (2, 14, 15, 2), (3, 30, 30, 3)])
    config, source = store.config, store.get_feature_view("customer_orders").batch_source

    def pull(start: float, end: float) -> list[int]:
        job = AsOfOfflineStore.pull_latest_from_table_or_query(
            config, source, ["customer_id"], ["order_count_30d"], "event_timestamp", "created_timestamp",
            shop.at(start), shop.at(end),
        )  # fmt: skip
        return job.to_arrow()["order_count_30d"].to_pylist()

    assert pull(0, 14.5) == [1]  # the second one happened, but nobody knew
    assert pull(14.5, 15) == [2]  # an event before the window that became known inside it
    with pytest.raises(RepoError, match=r"ends .* before it starts"):
        pull(15, 14)


def test_an_event_window_is_read_as_it_is_stored(repo: Repo) -> None:
    source = repo.store.get_feature_view("customer_orders").batch_source
    job = AsOfOfflineStore.pull_all_from_table_or_query(
        repo.store.config, source, ["customer_id"], ["last_channel"], "event_timestamp",
        start_date=shop.at(10), end_date=shop.at(20),
    )  # fmt: skip
    events = shop.order_rows()["event_timestamp"].to_pylist()
    assert job.to_arrow().num_rows == sum(shop.at(10) <= event <= shop.at(20) for event in events)


def test_a_batch_is_appended_whole_to_a_file_and_to_a_folder(shop_copy: Path) -> None:
    store = open_repo(shop_copy).store
    for name, source in (("customer_orders", shop.order_rows()), ("region_sales", shop.sales_rows())):
        view = store.get_feature_view(name)
        before = len(store.provider.offline_store.pull_all_from_table_or_query(
            store.config, view.batch_source, [], source.column_names[:1], source.column_names[1]
        ).to_arrow())  # fmt: skip
        AsOfOfflineStore.offline_write_batch(store.config, view, source.slice(0, 3), None)
        path = shop_copy / view.batch_source.path
        files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
        assert sum(pq.read_metadata(file).num_rows for file in files) == before + 3
        assert not list((shop_copy / "data").rglob("*.staged"))


def test_who_reads_a_file_while_it_is_appended_to_sees_it_as_it_was(shop_copy: Path) -> None:
    store = open_repo(shop_copy).store
    path = shop_copy / "data" / "orders.parquet"
    with path.open("rb") as reading:
        before = path.read_bytes()
        view = store.get_feature_view("customer_orders")
        AsOfOfflineStore.offline_write_batch(store.config, view, shop.order_rows().slice(0, 3), None)
        assert reading.read() == before
        assert path.read_bytes() != before


def test_rows_that_do_not_fit_the_source_are_refused(shop_copy: Path) -> None:
    store = open_repo(shop_copy).store
    view = store.get_feature_view("customer_orders")
    rows = shop.order_rows()
    with pytest.raises(RepoError, match="Send exactly those"):
        AsOfOfflineStore.offline_write_batch(store.config, view, rows.drop(["is_member"]), None)
    lossy = rows.set_column(3, "order_count_30d", pa.array([3.7] * 400))
    with pytest.raises(RepoError, match="do not fit its source"):
        AsOfOfflineStore.offline_write_batch(store.config, view, lossy, None)


def test_short_names_that_collide_with_the_examples_are_refused(repo: Repo) -> None:
    entity_df = pd.DataFrame({"customer_id": [1], "event_timestamp": [shop.at(9)], "last_channel": ["x"]})
    with pytest.raises(RepoError, match="already have a column 'last_channel'"):
        repo.store.get_historical_features(entity_df=entity_df, features=FEATURES).to_df()


def test_a_saved_dataset_is_written_whole(repo: Repo, tmp_path: Path) -> None:
    entity_df = pd.DataFrame({"customer_id": [1], "event_timestamp": [shop.at(99)]})
    job = repo.store.get_historical_features(entity_df=entity_df, features=FEATURES)
    job.persist(SavedDatasetFileStorage(path=str(tmp_path / "saved.parquet")))
    assert pq.read_table(tmp_path / "saved.parquet").equals(job.to_arrow())


def test_examples_without_a_key_and_unknown_services_name_the_next_step(repo: Repo) -> None:
    with pytest.raises(RepoError, match=r"lack \['home_region'\].*examples' SQL"):
        historical_frame(repo, shop.examples().drop(["home_region"]), "churn")
    with pytest.raises(RepoError, match=r"no feature service 'churm'; the registry has \['churn', 'reach'\]"):
        historical_frame(repo, shop.examples(), "churm")


def test_a_replay_that_knew_everything_at_once_is_the_historical_frame(repo: Repo) -> None:
    asked = shop.examples()
    asked = asked.append_column("known_at", asked["event_timestamp"])
    plan, _ = compile_read_plan(repo, "churn")
    replayed = replay_frame(repo, asked, plan)
    frame = historical_frame(repo, asked, "churn")
    stored = [name for name in frame.column_names if not name.startswith("order_age__")]
    assert replayed.select(stored).equals(frame.select(stored))


def test_a_plan_names_what_cannot_be_served(repo: Repo) -> None:
    with pytest.raises(ConfigError, match="no on-demand view has a request input 'now_us'"):
        compile_read_plan(repo, "churn", question_time_input="now_us")


# Ibis still calls what DuckDB has renamed.
@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
@pytest.mark.parametrize("kind", ["file", "duckdb"])
def test_a_store_that_drops_or_reorders_examples_is_caught(
    shop_copy: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(shop_copy)
    settings = load_config(shop_copy)
    settings.offline_config = {"type": kind}
    other = Repo(shop_copy, FeatureStore(config=settings))
    asked = shop.examples().filter(pc.is_valid(shop.examples()["customer_id"]))
    with pytest.raises(RowsNotConserved):
        historical_frame(other, asked, "reach")
