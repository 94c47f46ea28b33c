"""What is done with a retrieval's rows: limits of time, saved datasets, logs, rows written back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, Field, ValueType
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Int64, Map, String

from knownat.errors import RepoError, RetrievalTimeout, RowsNotConserved
from knownat.stores.deadline import Stop, within
from knownat.stores.examples import FrameExamples
from knownat.stores.offline import AsOfOfflineStore
from knownat.stores.parquet_writes import staged
from knownat.stores.retrieval import AsOfRetrievalJob, TableJob, Wanted
from tests.stores import shop
from tests.stores.made_store import PLACE, make_store, rows, source, view, write
from tests.stores.object_store import object_store

AMOUNT = ["stock:amount"]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    write(tmp_path / "stock.parquet", rows(["a", "b"], [1, 2], [2**53 + 1, None]))
    return make_store(tmp_path, PLACE, view(source("stock.parquet")))


def retrieval(store: FeatureStore, **options: Any) -> Any:
    asked = pd.DataFrame({"place": ["b", "a"], "event_timestamp": [shop.at(5), shop.at(4)], "label": [0, 1]})
    return store.get_historical_features(entity_df=asked, features=AMOUNT, **options)


class Step:
    """Work that stands still between two of its steps until it is let go."""

    def __init__(self) -> None:
        self.go, self.done = threading.Event(), threading.Event()

    def __call__(self, stop: Stop) -> pa.Table:
        self.go.wait(30)
        try:
            stop.check()
        finally:
            self.done.set()
        return pa.table({"x": [1]})


@contextmanager
def standing_still() -> Iterator[Step]:
    step = Step()
    try:
        yield step
    finally:
        step.go.set()
        assert step.done.wait(30)


def test_who_waits_is_answered_when_the_time_is_up(store: FeatureStore) -> None:
    with standing_still() as step, pytest.raises(RetrievalTimeout, match=r"not done within 0\.05 s"):
        TableJob(step, store.config).to_arrow(timeout=0.05)
    with standing_still() as step, pytest.raises(TimeoutError):
        TableJob(step, store.config).to_df(timeout=0.05)


def test_work_that_is_told_to_stop_does_so_at_its_next_step() -> None:
    reached = []

    def work(stop: Stop) -> None:
        step(stop)
        reached.append("the end")

    with standing_still() as step, pytest.raises(RetrievalTimeout):
        within(0.05, work, what="The test")
    assert reached == []


def test_a_query_is_interrupted_where_it_is(store: FeatureStore) -> None:
    query = "SELECT 'a' AS place, now() AS event_timestamp FROM range(1000000000) a, range(1000000000) b"
    job = store.get_historical_features(entity_df=query, features=AMOUNT)
    with pytest.raises(RetrievalTimeout):
        job.to_arrow(timeout=0.2)
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("knownat")]
    for thread in threading.enumerate():
        if thread.name in names:
            thread.join(30)
            assert not thread.is_alive()


def test_within_its_time_a_retrieval_gives_the_same_and_its_own_errors(store: FeatureStore) -> None:
    assert retrieval(store).to_arrow(timeout=60).equals(retrieval(store).to_arrow())
    pd.testing.assert_frame_equal(retrieval(store).to_df(timeout=60), retrieval(store).to_df())
    missing = store.get_historical_features(entity_df="SELECT * FROM nowhere", features=AMOUNT)
    with pytest.raises(RepoError, match="nowhere"):
        missing.to_arrow(timeout=60)
    with pytest.raises(RepoError, match="lets nothing be done"):
        retrieval(store).to_arrow(timeout=0)


def test_a_dataset_whose_time_is_up_is_not_written(store: FeatureStore, tmp_path: Path) -> None:
    target = tmp_path / "saved.parquet"
    target.write_bytes(b"before")
    storage = SavedDatasetFileStorage(path="saved.parquet")
    with standing_still() as step, pytest.raises(RetrievalTimeout, match="Saving the dataset"):
        TableJob(step, store.config).persist(storage, allow_overwrite=True, timeout=0.05)
    assert target.read_bytes() == b"before"
    assert not [*tmp_path.glob(".*saved*")]


@pytest.mark.parametrize("name", ["rows.parquet", "rows"])
def test_a_file_whose_time_ran_out_while_it_was_written_is_not_put_in_place(
    tmp_path: Path, name: str
) -> None:
    stop = Stop()

    def write_too_slowly() -> None:
        with staged(tmp_path / name, stop) as place:
            pq.write_table(rows(["a"], [1], [1]), place)
            assert stop.ask()

    with pytest.raises(RetrievalTimeout):
        write_too_slowly()
    assert [*tmp_path.iterdir()] == []


def test_a_deadline_waits_for_a_last_step_that_has_begun() -> None:
    begun, go = threading.Event(), threading.Event()

    def work(stop: Stop) -> str:
        with stop.finishing():
            begun.set()
            go.wait(30)
        return "whole"

    threading.Timer(0.2, go.set).start()
    assert within(0.05, work, what="The test") == "whole"
    assert begun.is_set()


@pytest.mark.filterwarnings("ignore:(Saving|Retrieving) dataset:RuntimeWarning")
@pytest.mark.parametrize("path", ["saved.parquet", "saved"])
def test_a_saved_dataset_is_read_back_through_feast(store: FeatureStore, tmp_path: Path, path: str) -> None:
    storage = SavedDatasetFileStorage(path=path)
    saved = store.create_saved_dataset(from_=retrieval(store), name="training", storage=storage)
    assert pq.read_table(tmp_path / path).equals(retrieval(store).to_arrow())
    again = store.get_saved_dataset("training").to_df()
    assert again[["place", "amount"]].astype("object").values.tolist() == [["b", pd.NA], ["a", 2**53 + 1]]
    assert saved.min_event_timestamp == shop.at(4)


def test_a_dataset_is_overwritten_only_if_that_is_asked_for(store: FeatureStore, tmp_path: Path) -> None:
    for path in ("saved.parquet", "saved"):
        storage = SavedDatasetFileStorage(path=path)
        retrieval(store).persist(storage)
        with pytest.raises(SavedDatasetLocationAlreadyExists):
            retrieval(store).persist(storage)
        retrieval(store, full_feature_names=True).persist(storage, allow_overwrite=True)
        assert "stock__amount" in pq.read_table(tmp_path / path).column_names
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "registry.db") == [
        "saved", "saved.parquet", "stock.parquet",
    ]  # fmt: skip
    assert [p.name for p in (tmp_path / "saved").iterdir()] == ["rows.parquet"]


def test_a_dataset_is_saved_as_one_object_of_a_store(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with object_store() as bucket:
        for path, key in (
            ("s3://b/saved.parquet", "b/saved.parquet"),
            ("s3://b/saved", "b/saved/rows.parquet"),
        ):
            storage = SavedDatasetFileStorage(path=path, s3_endpoint_override=bucket.url)
            retrieval(store).persist(storage)
            assert pq.read_table(pa.BufferReader(bucket.objects[key]))["amount"].to_pylist() == [
                None,
                2**53 + 1,
            ]
            with pytest.raises(SavedDatasetLocationAlreadyExists):
                retrieval(store).persist(storage)
        with pytest.raises(RepoError, match="cannot be replaced in one step"):
            retrieval(store).persist(storage, allow_overwrite=True)


def test_features_of_another_number_of_rows_are_caught(store: FeatureStore) -> None:
    asked = pd.DataFrame({"place": ["a", "b"], "event_timestamp": [shop.at(1)] * 2})
    short = pa.table({"amount": [1]})
    job = AsOfRetrievalJob(
        FrameExamples(asked, ["place"]), lambda _: short, Wanted(feature_refs=AMOUNT), store.config
    )
    for ask in (job.to_df, job.to_arrow):
        with pytest.raises(RowsNotConserved, match="2 examples in, 1 rows of features out"):
            ask()


def test_the_join_is_no_sql_and_says_so(store: FeatureStore) -> None:
    with pytest.raises(NotImplementedError, match="to_arrow, to_df or persist"):
        retrieval(store).to_sql()


def test_a_validation_that_cannot_run_is_not_skipped(store: FeatureStore) -> None:
    class Reference:
        @property
        def profile(self) -> Any:
            raise ImportError("no profiler")

    for ask in (retrieval(store).to_df, retrieval(store).to_arrow):
        with pytest.raises(ImportError, match="no profiler"):
            ask(validation_reference=Reference())


def test_integers_beside_nulls_stay_integers_in_every_result(store: FeatureStore) -> None:
    job = retrieval(store)
    assert job.to_df()["amount"].tolist() == [pd.NA, 2**53 + 1]
    assert str(job.to_df()["amount"].dtype) == "Int64"
    assert job.to_arrow()["amount"].to_pylist() == [None, 2**53 + 1]
    assert job.to_feast_df().data["amount"].to_pylist() == [None, 2**53 + 1]


def test_rows_pushed_into_partitions_lie_in_their_folders(tmp_path: Path) -> None:
    for place in ("a", "b"):
        write(
            tmp_path / "data" / f"place={place}" / "x.parquet",
            rows([place], [1], [1]).drop_columns(["place"]),
        )
    store = make_store(tmp_path, PLACE, view(source("data")))
    pushed = rows(["b", "c/d", "b", None], [2, 2, 3, 3], [4, 5, 6, 7]).to_pandas()
    store.write_to_offline_store("stock", pushed)
    asked = pd.DataFrame({"place": ["a", "b", "c/d"], "event_timestamp": [shop.at(9)] * 3})
    found = store.get_historical_features(entity_df=asked, features=AMOUNT).to_df()
    assert found["amount"].tolist() == [1, 6, 5]
    every = AsOfOfflineStore.pull_all_from_table_or_query(
        store.config, source("data"), ["place"], ["amount"], "event_timestamp"
    ).to_df()
    assert sorted(every["amount"]) == [1, 1, 4, 5, 6, 7]
    assert every["amount"][every["place"].isna()].tolist() == [7]
    folders = sorted(folder.name for folder in (tmp_path / "data").iterdir())
    assert folders == ["place=__HIVE_DEFAULT_PARTITION__", "place=a", "place=b", "place=c%2Fd"]
    assert (
        "place" not in pq.ParquetFile(next((tmp_path / "data" / "place=c%2Fd").iterdir())).schema_arrow.names
    )


def test_rows_are_pushed_under_the_sources_names_or_the_views(tmp_path: Path) -> None:
    stock = rows(["a"], [1], [1]).rename_columns(["code", "happened", "published", "amount"])
    write(tmp_path / "stock.parquet", stock)
    mapping = {"code": "place", "happened": "event_timestamp", "published": "created_timestamp"}
    store = make_store(tmp_path, PLACE, view(source("stock.parquet", field_mapping=mapping)))
    store.write_to_offline_store("stock", stock.to_pandas())
    AsOfOfflineStore.offline_write_batch(
        store.config, store.get_feature_view("stock"), rows(["a"], [3], [3]), None
    )
    assert pq.read_table(tmp_path / "stock.parquet")["amount"].to_pylist() == [1, 1, 3]


@pytest.mark.parametrize("path", ["stock.csv", "data/*.parquet"])
def test_rows_cannot_be_pushed_into_csv_or_a_pattern(tmp_path: Path, path: str) -> None:
    (tmp_path / "stock.csv").write_text(
        "place,event_timestamp,created_timestamp,amount\na,2024-03-29,2024-03-29,1\n"
    )
    write(tmp_path / "data" / "x.parquet", rows(["a"], [1], [1]))
    store = make_store(tmp_path, PLACE, view(source(path)))
    with pytest.raises(RepoError, match="can be added to a Parquet file or folder"):
        AsOfOfflineStore.offline_write_batch(
            store.config, store.get_feature_view("stock"), rows(["b"], [1], [1]), None
        )


@pytest.mark.parametrize("partition_by", [None, ["__log_date"]])
def test_logged_features_are_written_whole_and_read_back(
    tmp_path: Path, partition_by: list[str] | None
) -> None:
    write(tmp_path / "stock.parquet", rows(["a"], [1], [1]))
    stock = view(source("stock.parquet"))
    destination = FileLoggingDestination(path="logs", partition_by=partition_by)
    service = FeatureService(
        name="s", features=[stock], logging_config=LoggingConfig(destination=destination)
    )
    store = make_store(tmp_path, PLACE, stock, service)
    schema = FeatureServiceLoggingSource(service, store.project).get_schema(store.registry)
    days = [date(2024, 3, 29), date(2024, 3, 30)]
    logged = pa.table(
        {
            "place": ["a", "b"],
            "stock__amount": [1, None],
            "stock__amount__timestamp": [shop.at(1), None],
            "stock__amount__status": [2, 1],
            "__log_timestamp": [shop.at(3), shop.at(26)],
            "__log_date": days,
            "__request_id": ["x", "y"],
        },
        schema=schema,
    )
    store.write_logged_features(logged, service)
    pq.write_table(logged, tmp_path / "more.parquet")
    store.write_logged_features(tmp_path / "more.parquet", service)
    job = store.provider.retrieve_feature_service_logs(
        service, shop.at(0), shop.at(9), store.config, store.registry
    )
    found = job.to_arrow()
    assert (
        found.select(["place", "__log_date", "__request_id"]).to_pylist()
        == [{"place": "a", "__log_date": days[0], "__request_id": "x"}] * 2
    )
    folders = {file.parent.name for file in (tmp_path / "logs").rglob("*.parquet")}
    assert folders == ({"__log_date=2024-03-29", "__log_date=2024-03-30"} if partition_by else {"logs"})


def test_feasts_materialization_may_read_a_view_without_keys_and_all_columns(tmp_path: Path) -> None:
    write(tmp_path / "stock.parquet", rows(["a", "b"], [1, 2], [1, 2]))
    store = make_store(tmp_path)
    newest = AsOfOfflineStore.pull_latest_from_table_or_query(
        store.config, source("stock.parquet"), [], ["amount"], "event_timestamp", "created_timestamp",
        shop.at(0), shop.at(9),
    ).to_arrow()  # fmt: skip
    assert newest.select(["amount", "__dummy_id"]).to_pylist() == [{"amount": 2, "__dummy_id": ""}]
    every = AsOfOfflineStore.pull_all_from_table_or_query(
        store.config, source("stock.parquet"), ["place"], [], "event_timestamp"
    ).to_arrow()
    assert every.column_names == ["place", "event_timestamp", "created_timestamp", "amount"]
    with pytest.raises(RepoError, match=r"has no column \['nothing'\]"):
        AsOfOfflineStore.pull_all_from_table_or_query(
            store.config, source("stock.parquet"), ["place"], ["nothing"], "event_timestamp"
        ).to_arrow()


def test_two_views_of_one_table_are_told_apart_by_their_full_names(tmp_path: Path) -> None:
    city = Entity(name="city", join_keys=["city"], value_type=ValueType.STRING)
    write(tmp_path / "stock.parquet", rows(["a"], [1], [1]))
    stock = source("stock.parquet")
    store = make_store(tmp_path, PLACE, city, view(stock), view(stock, name="again", ttl=timedelta(hours=1)))
    asked = pd.DataFrame({"place": ["a"], "event_timestamp": [shop.at(5)]})
    features = ["stock:amount", "again:amount"]
    found = store.get_historical_features(
        entity_df=asked, features=features, full_feature_names=True
    ).to_arrow()
    assert (found["stock__amount"].to_pylist(), found["again__amount"].to_pylist()) == ([1], [None])
    assert found.schema.field("stock__amount").type == pa.int64()


@pytest.mark.filterwarnings("ignore:On demand feature view is an experimental:RuntimeWarning")
@pytest.mark.parametrize("examples", [0, 3, 300_000])
def test_a_dataset_saved_slice_by_slice_is_the_whole_one(tmp_path: Path, examples: int) -> None:
    more = {
        "label": pa.array(["x", None]),
        "parts": pa.array([[1, 2], None]),
        "map": pa.array([{"a": "b"}, None]),
    }
    write(tmp_path / "stock.parquet", rows(["a", "b"], [1, 2], [2**53 + 1, None], **more))
    stock = view(
        source("stock.parquet"), {"amount": Int64, "label": String, "parts": Array(Int64), "map": Map}
    )

    @on_demand_feature_view(sources=[stock], schema=[Field(name="louder", dtype=String)])
    def loud(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"louder": inputs["label"].str.upper()})

    store = make_store(tmp_path, PLACE, stock, loud)
    asked = pd.DataFrame(
        {
            "place": pd.Series(["b", "a", "z"] * (examples // 3), dtype=object),
            "event_timestamp": pd.Series(
                [shop.at(5), shop.at(4), shop.at(0)] * (examples // 3), dtype="datetime64[ns, UTC]"
            ),
            "n": range(examples),
        }
    )
    features = ["stock:amount", "stock:label", "stock:parts", "stock:map", "loud:louder"]
    job = store.get_historical_features(entity_df=asked, features=features)
    job.persist(SavedDatasetFileStorage(path="saved.parquet"))
    assert pq.read_table(tmp_path / "saved.parquet").equals(job.to_arrow())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["registry.db", "saved.parquet", "stock.parquet"]


def test_a_saved_dataset_refuses_what_a_retrieval_refuses(store: FeatureStore, tmp_path: Path) -> None:
    asked = pd.DataFrame({"place": ["a"], "event_timestamp": [shop.at(5)], "amount": [1]})
    job = store.get_historical_features(entity_df=asked, features=AMOUNT)
    with pytest.raises(RepoError, match="already have a column 'amount'"):
        job.persist(SavedDatasetFileStorage(path="saved.parquet"))
    assert not (tmp_path / "saved.parquet").exists()
