"""Whatever the examples are, a frame, a query or a range of time, they come back as they were asked."""

import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import BatchFeatureView, Entity, FeatureStore, Field, LabelView, RequestSource, ValueType
from feast.errors import EntityTimestampInferenceException, RequestDataNotFoundInEntityDfException
from feast.labeling.conflict_policy import ConflictPolicy
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bytes, Float64, Int64, Json, Map, String, Struct

from knownat.errors import RepoError, RowsNotConserved
from tests.stores import shop
from tests.stores.made_store import PLACE, US, make_store, rows, source, view, write

AMOUNT = ["stock:amount"]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """One view of one feature; places a and b change, c does so late."""
    table = rows(["a", "a", "b", "c"], [1, 3, 2, 9], [10, 30, 2**53 + 1, 5])
    write(tmp_path / "data" / "stock.parquet", table)
    asked = pa.table(
        {"place": ["b", "a", "z", "a"], "event_timestamp": pa.array(hours(4, 2, 4, 4), US), "n": [4, 3, 2, 1]}
    )
    write(tmp_path / "data" / "asked.parquet", asked)
    asked_source = source("data/asked.parquet", name="asked", created_timestamp_column="")
    return make_store(tmp_path, PLACE, view(source("data/stock.parquet")), asked_source)


def hours(*values: float) -> list[datetime]:
    return [shop.at(value) for value in values]


def test_a_query_reads_the_projects_sources_and_keeps_its_order(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    job = store.get_historical_features(
        entity_df="SELECT * FROM asked WHERE n < 4 ORDER BY n", features=AMOUNT
    )
    found = job.to_arrow()
    assert found.column_names == ["place", "event_timestamp", "n", "amount"]
    assert found["n"].to_pylist() == [1, 2, 3]
    assert found["amount"].to_pylist() == [30, None, 10]
    assert job.to_df()["amount"].tolist() == [30, pd.NA, 10]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert job.metadata is not None
    assert (job.metadata.keys, job.metadata.min_event_timestamp) == (["place", "n"], shop.at(2))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM nowhere", r"(?s)nowhere does not exist.*\['asked', 'stock'\]"),
        ("SELECT 1; SELECT 2", "not one SELECT"),
        ("DELETE FROM asked", "not one SELECT"),
        ("COPY (SELECT 1) TO 'x'", "not one SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "file system operations are disabled"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELEC", "syntax error"),
    ],
)
def test_a_query_can_read_those_sources_and_nothing_else(
    store: FeatureStore, query: str, message: str
) -> None:
    with pytest.raises(RepoError, match=message):
        store.get_historical_features(entity_df=query, features=AMOUNT).to_df()


def test_a_query_sees_no_variable_of_the_caller(store: FeatureStore) -> None:
    frame = pd.DataFrame({"place": ["a"], "event_timestamp": hours(4)})
    with pytest.raises(RepoError, match="frame does not exist"):
        store.get_historical_features(entity_df="SELECT * FROM frame", features=AMOUNT).to_df()
    assert len(frame) == 1


def test_a_query_opens_only_what_it_names(store: FeatureStore, tmp_path: Path) -> None:
    store.apply([view(source("data/not-there.parquet", name="lost"), name="lost")])
    query = "SELECT place, event_timestamp FROM asked"
    assert store.get_historical_features(entity_df=query, features=AMOUNT).to_arrow().num_rows == 4
    with pytest.raises(RepoError, match="'lost' has no Parquet file"):
        store.get_historical_features(entity_df="SELECT * FROM lost", features=AMOUNT).to_arrow()


def test_nanoseconds_in_a_query_are_exact_or_refused(tmp_path: Path) -> None:
    for name, ticks in (("whole", 1_000), ("fine", 1)):
        table = rows(["a"], [1], [1])
        times = pa.array([ticks], pa.timestamp("ns", tz="UTC"))
        write(tmp_path / f"{name}.parquet", table.set_column(1, "event_timestamp", times))
    store = make_store(
        tmp_path,
        PLACE,
        view(source("whole.parquet", name="whole")),
        view(source("fine.parquet", name="fine"), name="f"),
    )
    query = "SELECT place, event_timestamp FROM {} WHERE event_timestamp > TIMESTAMPTZ '1969-01-01'"
    found = store.get_historical_features(entity_df=query.format("whole"), features=AMOUNT).to_arrow()
    assert found["event_timestamp"].cast(pa.int64()).to_pylist() == [1]
    with pytest.raises(RepoError, match="'fine', column 'event_timestamp' is finer than a microsecond"):
        store.get_historical_features(entity_df=query.format("fine"), features=AMOUNT).to_arrow()


def test_times_in_a_query_are_utc_wherever_it_runs(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    query = "SELECT 'a' AS place, TIMESTAMPTZ '2024-03-29 03:00:00' AS event_timestamp"
    try:
        found = store.get_historical_features(entity_df=query, features=AMOUNT).to_arrow()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found["event_timestamp"].to_pylist() == [datetime(2024, 3, 29, 3, tzinfo=UTC)]
    assert found["amount"].to_pylist() == [30]


def test_the_time_of_a_question_is_the_only_column_of_times_or_must_be_named(store: FeatureStore) -> None:
    once = "SELECT 'a' AS place, TIMESTAMPTZ '2024-03-29 03:00:00' AS asked_at"
    assert store.get_historical_features(entity_df=once, features=AMOUNT).to_arrow()[
        "amount"
    ].to_pylist() == [30]
    with pytest.raises(EntityTimestampInferenceException):
        store.get_historical_features(entity_df=once + ", now() AS b", features=AMOUNT).to_arrow()
    frame = pd.DataFrame({"place": ["a"], "asked_at": hours(4), "known": hours(5)})
    with pytest.raises(EntityTimestampInferenceException):
        store.get_historical_features(entity_df=frame, features=AMOUNT)


def test_a_range_asks_every_key_at_each_of_its_event_times(store: FeatureStore) -> None:
    found = store.get_historical_features(
        features=AMOUNT, start_date=shop.at(2), end_date=shop.at(9), full_feature_names=True
    ).to_arrow()
    assert found.to_pydict() == {
        "event_timestamp": hours(2, 3, 9),
        "place": ["b", "a", "c"],
        "stock__amount": [2**53 + 1, 30, 5],
    }


def test_a_range_over_views_with_other_keys_leaves_the_missing_ones_null(tmp_path: Path) -> None:
    city = Entity(name="city", join_keys=["city"], value_type=ValueType.STRING)
    write(tmp_path / "stock.parquet", rows(["a"], [1], [1]))
    write(
        tmp_path / "heat.parquet",
        rows(["x"], [1], [7]).rename_columns(["city", "event_timestamp", "created_timestamp", "heat"]),
    )
    heat = view(source("heat.parquet", name="heat"), {"heat": Int64}, name="heat", entities=[city])
    store = make_store(tmp_path, PLACE, city, view(source("stock.parquet")), heat)
    found = store.get_historical_features(
        features=["stock:amount", "heat:heat"], start_date=shop.at(0), end_date=shop.at(2)
    ).to_arrow()
    assert found.select(["place", "city", "amount", "heat"]).to_pylist() == [
        {"place": "a", "city": None, "amount": 1, "heat": None},
        {"place": None, "city": "x", "amount": None, "heat": 7},
    ]


def test_a_range_that_ends_before_it_starts_is_refused(store: FeatureStore) -> None:
    with pytest.raises(RepoError, match=r"ends .* before it starts"):
        store.get_historical_features(features=AMOUNT, start_date=shop.at(2), end_date=shop.at(1))


def test_columns_of_any_dtype_come_back_as_they_were(tmp_path: Path) -> None:
    write(tmp_path / "stock.parquet", rows(["a"], [1], [1]))
    # Feast itself turns every time to UTC before a store sees it, unless told not to.
    store = make_store(tmp_path, PLACE, view(source("stock.parquet")), coerce_tz_aware=False)
    berlin = ZoneInfo("Europe/Berlin")
    asked = pd.DataFrame(
        {
            "place": pd.Categorical(["a", "b", "a"]),
            "event_timestamp": pd.DatetimeIndex(hours(5, 0, 2)).tz_convert(berlin),
            "naive": pd.to_datetime(["2024-03-31 02:30:00.123456789"] * 3),
            "objects": [datetime(2024, 1, 1, tzinfo=berlin), None, datetime(2024, 1, 1, tzinfo=UTC)],
            "mixed": [1, "two", {"three"}],
            "big": pd.array([2**53 + 1, None, 3], dtype="Int64"),
            "level": pd.Categorical(["lo", "hi", "lo"], categories=["lo", "hi"], ordered=True),
            "half": np.array([0.5, np.nan, 1], dtype=np.float32),
        },
        index=[7, 3, 7],
    )
    before = asked.copy(deep=True)
    job = store.get_historical_features(entity_df=asked, features=AMOUNT)
    found = job.to_df()
    pd.testing.assert_frame_equal(found[asked.columns], before.reset_index(drop=True))
    pd.testing.assert_frame_equal(asked, before)
    assert found["amount"].tolist() == [1, pd.NA, 1]
    with pytest.raises(RepoError, match="mixed"):
        job.to_arrow()


def test_times_given_as_objects_are_read_as_times(store: FeatureStore) -> None:
    for times in (["2024-03-29 04:00:00+01:00", "2024-03-29"], [shop.at(3).replace(tzinfo=None), shop.at(0)]):
        asked = pd.DataFrame({"place": ["a", "a"], "event_timestamp": pd.Series(times, dtype=object)})
        found = store.get_historical_features(entity_df=asked, features=AMOUNT).to_df()
        assert found["amount"].tolist() == [30, pd.NA]
        assert found["event_timestamp"].tolist() == hours(3, 0)
    for nonsense in ("soon", "01/02/2024"):
        asked = pd.DataFrame({"place": ["a"], "event_timestamp": [nonsense]})
        with pytest.raises(RepoError, match="'event_timestamp' holds no times"):
            store.get_historical_features(entity_df=asked, features=AMOUNT)


def test_a_float_key_is_refused_in_every_kind_of_examples(store: FeatureStore) -> None:
    query = "SELECT 1.0::DOUBLE AS place, TIMESTAMPTZ '2024-03-29 03:00:00' AS event_timestamp"
    frame = pd.DataFrame({"place": [1.0], "event_timestamp": hours(3)})
    for examples in (query, frame):
        with pytest.raises(RepoError, match="key 'place' is Float64"):
            store.get_historical_features(entity_df=examples, features=AMOUNT).to_df()


@pytest.mark.filterwarnings("ignore:On demand feature view is an experimental:RuntimeWarning")
def test_a_request_input_that_a_query_or_range_lacks_is_named(tmp_path: Path) -> None:
    write(tmp_path / "stock.parquet", rows(["a"], [1], [1]))
    stock = view(source("stock.parquet"))
    question = RequestSource(name="question", schema=[Field(name="extra", dtype=Int64)])

    @on_demand_feature_view(sources=[stock, question], schema=[Field(name="total", dtype=Int64)])
    def totals(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"total": inputs["amount"] + inputs["extra"]})

    store = make_store(tmp_path, PLACE, stock, totals)
    query = "SELECT place, event_timestamp FROM stock"
    with pytest.raises(RequestDataNotFoundInEntityDfException, match="extra"):
        store.get_historical_features(entity_df=query, features=["totals:total"]).to_df()
    found = store.get_historical_features(
        entity_df=query.replace("FROM", ", 5 AS extra FROM"), features=["totals:total"]
    )
    assert found.to_arrow()["total"].to_pylist() == [6]
    with pytest.raises(RequestDataNotFoundInEntityDfException, match="extra"):
        store.get_historical_features(
            features=["totals:total"], start_date=shop.at(0), end_date=shop.at(3)
        ).to_df()


@pytest.mark.filterwarnings("ignore:On demand feature view is an experimental:RuntimeWarning")
def test_an_on_demand_view_that_loses_rows_is_caught(tmp_path: Path) -> None:
    write(tmp_path / "stock.parquet", rows(["a"], [1], [1]))
    stock = view(source("stock.parquet"))

    @on_demand_feature_view(sources=[stock], schema=[Field(name="double", dtype=Int64)])
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"double": inputs["amount"].dropna() * 2})

    store = make_store(tmp_path, PLACE, stock, doubled)
    asked = pd.DataFrame({"place": ["a", "b"], "event_timestamp": hours(3, 3)})
    with pytest.raises(RowsNotConserved, match="'doubled' made 1 rows of 2"):
        store.get_historical_features(entity_df=asked, features=["doubled:double"]).to_df()


def test_values_of_any_type_feast_knows_are_found(tmp_path: Path) -> None:
    things = {
        "map": pa.array([[("k", "v"), ("l", "w")], None], pa.map_(pa.string(), pa.string())),
        "profile": pa.array([{"name": "x", "age": "3"}, None]),
        "config": pa.array(['{"a": 1}', None]),
        "blob": pa.array([b"\0\1", None]),
        "list": pa.array([[1.5, None], None], pa.list_(pa.float64())),
    }
    write(tmp_path / "stock.parquet", rows(["a", "b"], [1, 1], [1, 1], **things))
    kinds = {"map": Map, "profile": Struct({"name": String, "age": String}), "config": Json, "blob": Bytes}
    stock = view(source("stock.parquet"), {**kinds, "list": Float64})
    store = make_store(tmp_path, PLACE, stock)
    asked = pd.DataFrame({"place": ["b", "a", "z"], "event_timestamp": hours(3, 3, 3)})
    job = store.get_historical_features(entity_df=asked, features=[f"stock:{name}" for name in things])
    found = job.to_arrow()
    for name, values in things.items():
        given = pa.chunked_array([values])
        assert found[name].to_pylist() == [given[1].as_py(), given[0].as_py(), None], name
        assert found.schema.field(name).type == given.type, name
    assert job.to_df()["profile"].tolist() == [None, {"name": "x", "age": "3"}, None]


def test_labels_are_found_like_features_if_the_last_write_wins(tmp_path: Path) -> None:
    write(tmp_path / "stock.parquet", rows(["a", "a"], [1, 3], [1, 0]))
    schema = [Field(name="place", dtype=String), Field(name="amount", dtype=Int64)]

    def labels(policy: ConflictPolicy) -> LabelView:
        return LabelView(
            name="stock",
            entities=[PLACE],
            schema=schema,
            source=source("stock.parquet"),
            conflict_policy=policy,
        )

    asked = pd.DataFrame({"place": ["a", "a"], "event_timestamp": hours(2, 4)})
    store = make_store(tmp_path, PLACE, labels(ConflictPolicy.LAST_WRITE_WINS))
    assert store.get_historical_features(entity_df=asked, features=AMOUNT).to_df()["amount"].tolist() == [
        1,
        0,
    ]
    store.apply([labels(ConflictPolicy.MAJORITY_VOTE)])
    with pytest.raises(RepoError, match="resolves conflicts by majority_vote"):
        store.get_historical_features(entity_df=asked, features=AMOUNT)


@pytest.mark.filterwarnings("ignore:Batch feature views are experimental:RuntimeWarning")
def test_a_view_whose_values_are_computed_from_its_table_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "stock.parquet", rows(["a"], [1], [1]))
    computed = BatchFeatureView(
        name="stock",
        entities=[PLACE],
        schema=[Field(name="place", dtype=String), Field(name="amount", dtype=Int64)],
        source=source("stock.parquet"),
        udf=lambda rows: rows,
    )
    store = make_store(tmp_path, PLACE, computed)
    asked = pd.DataFrame({"place": ["a"], "event_timestamp": hours(2)})
    with pytest.raises(RepoError, match="'stock' computes its features"):
        store.get_historical_features(entity_df=asked, features=AMOUNT)
