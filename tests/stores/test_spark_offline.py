"""The offline store on Spark through Feast's own interface: the same answers as in process."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, ValueType
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.repo_config import RepoConfig
from feast.types import Int64, Map

from knownat.errors import RepoError, RetrievalTimeout
from knownat.stores.history import historical_frame, replay_frame
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import Repo, load_config
from tests.spark import SETTINGS, open_spark
from tests.stores import shop
from tests.stores.made_store import PLACE, US, make_store, rows, source, view, write

if TYPE_CHECKING:
    from knownat.stores.spark_retrieval import SparkRetrievalJob

pytestmark = [
    pytest.mark.xdist_group("spark"),
    pytest.mark.filterwarnings(
        "ignore:(Saving dataset|Retrieving datasets) is an experimental feature:RuntimeWarning"
    ),
]

SPARK = {"type": "knownat.stores.spark_offline.SparkAsOfOfflineStore", "spark_conf": SETTINGS}
AMOUNT = ["stock:amount"]


@pytest.fixture(scope="module", autouse=True)
def _spark() -> None:
    open_spark()


@pytest.fixture(scope="module")
def on_spark(repo: Repo) -> Repo:
    """The shop as it is applied, with nothing changed but its offline store."""
    config = load_config(repo.path)
    config.offline_config = SPARK
    return Repo(repo.path, on_cluster(FeatureStore(config=config)))


def moved(store: FeatureStore, folder: Path) -> FeatureStore:
    """The same registry and folder, with Spark as the offline store."""
    config = RepoConfig(
        project=store.project,
        provider="local",
        registry=store.config.registry,
        online_store=None,
        offline_store=SPARK,
        entity_key_serialization_version=3,
    )
    config.repo_path = folder
    return on_cluster(FeatureStore(config=config))


def on_cluster(store: FeatureStore) -> FeatureStore:
    """Make sure that it is Spark which answers: nothing here would notice otherwise."""
    assert type(store.provider.offline_store).__name__ == "SparkAsOfOfflineStore"
    return store


def same_bits(left: pa.Table, right: pa.Table) -> bool:
    """Compare with NaN equal to itself, types and order included."""
    return left.schema.equals(right.schema) and left.to_pandas().equals(right.to_pandas())


@pytest.mark.parametrize("service", ["churn", "reach"])
def test_a_frame_from_spark_is_the_one_from_this_process(repo: Repo, on_spark: Repo, service: str) -> None:
    here = historical_frame(repo, shop.examples(), service)
    there = historical_frame(on_spark, shop.examples(), service)
    assert same_bits(here, there)
    assert any(here[name].null_count for name in here.column_names)


def test_what_was_served_is_found_again(repo: Repo, on_spark: Repo) -> None:
    plan, _ = compile_read_plan(repo, "churn", question_time_input="question_us")
    examples = shop.examples().append_column("known_at", shop.examples()["event_timestamp"])
    assert same_bits(replay_frame(repo, examples, plan), replay_frame(on_spark, examples, plan))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """One view of one feature; places a and b change, c does so late."""
    table = rows(["a", "a", "b", "c"], [1, 3, 2, 9], [10, 30, 2**53 + 1, 5])
    write(tmp_path / "data" / "stock.parquet", table)
    times = pa.array([shop.at(hour) for hour in (4, 2, 4, 4)], US)
    asked = pa.table({"place": ["b", "a", "z", "a"], "event_timestamp": times, "n": [4, 3, 2, 1]})
    write(tmp_path / "data" / "asked.parquet", asked)
    asked_source = source("data/asked.parquet", name="asked", created_timestamp_column="")
    return moved(make_store(tmp_path, PLACE, view(source("data/stock.parquet")), asked_source), tmp_path)


def ask(store: FeatureStore, query: Any) -> "SparkRetrievalJob":
    job: Any = store.get_historical_features(entity_df=query, features=AMOUNT)
    return job


def test_a_query_keeps_its_order_and_every_row(store: FeatureStore) -> None:
    job = ask(store, "SELECT * FROM asked WHERE n < 4 ORDER BY n; ")
    found = job.to_arrow()
    assert found.column_names == ["place", "event_timestamp", "n", "amount"]
    assert found["n"].to_pylist() == [1, 2, 3]
    assert found["amount"].to_pylist() == [30, None, 10]
    assert job.metadata is not None
    assert (job.metadata.keys, job.metadata.min_event_timestamp) == (["place", "n"], shop.at(2))


@pytest.mark.parametrize("query", ["DROP VIEW asked", "SELECT 1; SELECT 2", "SELEC", "SELECT * FROM nowhere"])
def test_a_query_that_is_no_select_is_refused(store: FeatureStore, query: str) -> None:
    with pytest.raises(RepoError, match="Spark cannot do this"):
        ask(store, query).to_arrow()


def test_results_are_written_by_the_executors_in_order_and_only_once(
    store: FeatureStore, tmp_path: Path
) -> None:
    job = ask(store, "SELECT * FROM asked ORDER BY n")
    job.to_parquet(tmp_path / "result")
    assert pq.read_table(tmp_path / "result").equals(job.to_arrow())
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.to_parquet(tmp_path / "result")
    job.to_parquet(tmp_path / "result", overwrite=True)
    assert pq.read_table(tmp_path / "result").num_rows == 4
    assert [p.name for p in tmp_path.iterdir() if "staged" in p.name or ".old" in p.name] == []


def test_a_saved_dataset_is_read_back_through_feast(store: FeatureStore, tmp_path: Path) -> None:
    job = ask(store, "SELECT * FROM asked ORDER BY n")
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved"))
    store.create_saved_dataset(from_=job, name="saved", storage=storage)
    back = store.get_saved_dataset("saved").to_arrow()
    assert back["amount"].to_pylist() == [30, None, 10, 2**53 + 1]


def test_a_time_that_is_up_writes_nothing(store: FeatureStore, tmp_path: Path) -> None:
    job = ask(store, "SELECT a.* FROM asked a, range(300000000) r WHERE r.id < 0 OR a.n = 1")
    with pytest.raises(RetrievalTimeout):
        job.to_parquet(tmp_path / "late", timeout=1)
    assert not (tmp_path / "late").exists()


def test_on_demand_features_are_computed_by_the_executors(on_spark: Repo, tmp_path: Path) -> None:
    examples = shop.examples(40).to_pandas()
    examples["customer_id"] = examples["customer_id"].astype("Int64")
    job: Any = on_spark.store.get_historical_features(
        entity_df=examples,
        features=on_spark.store.get_feature_service("churn"),
        full_feature_names=True,
        filter_by_created_timestamp=True,
    )
    job.to_parquet(tmp_path / "result")
    here, there = job.to_arrow(), pq.read_table(tmp_path / "result")
    assert here.column_names == there.column_names
    for name in ("order_age__order_age_s", "customer_orders__order_count_30d", "note"):
        assert here.select([name]).to_pandas().equals(there.select([name]).to_pandas())


def test_a_range_asks_every_key_at_each_of_its_event_times(store: FeatureStore) -> None:
    job = store.get_historical_features(
        entity_df=None, features=AMOUNT, start_date=shop.at(1), end_date=shop.at(3)
    )
    assert job.to_arrow().to_pylist() == [
        {"event_timestamp": shop.at(1), "place": "a", "amount": 10},
        {"event_timestamp": shop.at(2), "place": "b", "amount": 2**53 + 1},
        {"event_timestamp": shop.at(3), "place": "a", "amount": 30},
    ]


def test_a_key_of_another_type_and_a_null_time_are_refused_by_name(
    store: FeatureStore, tmp_path: Path
) -> None:
    wrong = pd.DataFrame({"place": [1], "event_timestamp": [shop.at(4)]})
    with pytest.raises(RepoError, match="a key is never converted in silence"):
        ask(store, wrong).to_arrow()
    table = rows(["a", "b"], [1, 2], [1, 2])
    times = pa.array([shop.at(1), None], US)
    write(tmp_path / "data" / "stock.parquet", table.set_column(2, "created_timestamp", times))
    right = pd.DataFrame({"place": ["a"], "event_timestamp": [shop.at(4)]})
    with pytest.raises(RepoError, match=r"^stock, column 'created_timestamp' is null in some rows"):
        ask(store, right).to_arrow()


def test_nanoseconds_are_exact_or_refused(store: FeatureStore, tmp_path: Path) -> None:
    asked = pd.DataFrame({"place": ["a"], "event_timestamp": [shop.at(4)]})
    fine = pa.timestamp("ns", "UTC")
    table = rows(["a"], [1], [10])
    exact = table.set_column(1, "event_timestamp", table["event_timestamp"].cast(fine))
    write(tmp_path / "data" / "stock.parquet", exact)
    assert ask(store, asked).to_arrow()["amount"].to_pylist() == [10]
    ticks = pa.array([table["event_timestamp"][0].value * 1_000 + 1], pa.int64()).cast(fine)
    write(tmp_path / "data" / "stock.parquet", table.set_column(1, "event_timestamp", ticks))
    with pytest.raises(RepoError, match="is finer than a microsecond"):
        ask(store, asked).to_arrow()


def test_feasts_materialization_pulls_by_visible_time(store: FeatureStore) -> None:
    source = store.get_feature_view("stock").batch_source
    pulled = store._get_provider().offline_store.pull_latest_from_table_or_query(
        config=store.config,
        data_source=source,
        join_key_columns=["place"],
        feature_name_columns=["amount"],
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        start_date=shop.at(1),
        end_date=shop.at(3),
    )
    found = pulled.to_arrow().sort_by("place")
    assert found["place"].to_pylist() == ["a", "b"]
    assert found["amount"].to_pylist() == [30, 2**53 + 1]


def test_the_newest_rows_come_in_batches_that_fit(store: FeatureStore) -> None:
    from knownat.stores.spark_offline import SparkAsOfOfflineStore, _batches
    from knownat.stores.spark_sources import spark_table

    view = store.get_feature_view("stock")
    found = SparkAsOfOfflineStore().newest_rows(store.config, view, since_us=None, until_us=2**60)
    assert found.entities == 3
    assert sum(batch.height for batch in found.batches) == 3
    table = spark_table(view, store.config, open_spark())
    parts = [*_batches(table.rows.persist(), ["place"], 3)]
    assert sum(part.height for part in parts) == 4


def test_partitions_and_added_columns_mean_the_same(tmp_path: Path) -> None:
    table = rows(["a", "b"], [1, 2], [10, 20]).drop_columns(["place"])
    write(tmp_path / "data" / "stock" / "place=01" / "x.parquet", table.slice(0, 1))
    later = table.slice(1, 1).append_column("price", pa.array([7], pa.int64()))
    write(tmp_path / "data" / "stock" / "place=b [1]" / "y.parquet", later)
    made = view(source("data/stock"), {"amount": Int64, "price": Int64}, ttl=timedelta(days=9))
    store = moved(make_store(tmp_path, PLACE, made), tmp_path)
    asked = pd.DataFrame({"place": ["b [1]", "01", "1"], "event_timestamp": [shop.at(4)] * 3})
    job = store.get_historical_features(entity_df=asked, features=["stock:amount", "stock:price"])
    assert job.to_arrow().select(["amount", "price"]).to_pylist() == [
        {"amount": 20, "price": 7},
        {"amount": 10, "price": None},
        {"amount": None, "price": None},
    ]


def test_ties_of_values_without_a_packed_type_end_as_in_process(tmp_path: Path) -> None:
    where = pa.array([[("x", "1")], [("x", "2")], [("y", "0")], None], pa.map_(pa.string(), pa.string()))
    table = rows(["a"] * 4, [1] * 4, [1, 1, 1, 1], tags=where)
    write(tmp_path / "data" / "stock.parquet", table)
    entity = Entity(name="place", join_keys=["place"], value_type=ValueType.STRING)
    made = view(source("data/stock.parquet"), {"amount": Int64, "tags": Map})
    here = make_store(tmp_path, entity, made)
    asked = pd.DataFrame({"place": ["a"], "event_timestamp": [shop.at(4)]})
    wanted = ["stock:amount", "stock:tags"]
    both = [
        store.get_historical_features(entity_df=asked, features=wanted).to_arrow()["tags"].to_pylist()
        for store in (here, moved(here, tmp_path))
    ]
    assert both[0] == both[1]


def test_a_configuration_cannot_change_what_a_value_means() -> None:
    from knownat.stores.spark_session import open_session

    wrong = {"spark.sql.session.timeZone": "Europe/Berlin", "spark.sql.caseSensitive": "false"}
    session = open_session(SETTINGS | wrong | {"spark.sql.shuffle.partitions": "3"})
    assert session.conf.get("spark.sql.session.timeZone") == "UTC"
    assert session.conf.get("spark.sql.caseSensitive") == "true"
    assert session.conf.get("spark.sql.shuffle.partitions") == "3"


def test_sessions_share_neither_views_nor_settings() -> None:
    first, second = open_spark(), open_spark()
    first.range(1).createOrReplaceTempView("only_here")
    assert first.catalog.tableExists("only_here")
    assert not second.catalog.tableExists("only_here")


def test_columns_that_differ_in_case_or_have_dots_are_told_apart(tmp_path: Path) -> None:
    table = rows(
        ["a"], [1], [10], **{"Amount": pa.array([20], pa.int64()), "a.b": pa.array([30], pa.int64())}
    )
    write(tmp_path / "data" / "stock.parquet", table)
    made = view(source("data/stock.parquet"), {"amount": Int64, "Amount": Int64, "a.b": Int64})
    store = moved(make_store(tmp_path, PLACE, made), tmp_path)
    asked = pd.DataFrame({"place": ["a"], "event_timestamp": [shop.at(4)]})
    names = ["amount", "Amount", "a.b"]
    found = store.get_historical_features(asked, [f"stock:{name}" for name in names]).to_arrow()
    assert [found[name][0].as_py() for name in names] == [10, 20, 30]
