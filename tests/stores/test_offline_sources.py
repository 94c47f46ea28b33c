"""Where feature rows may lie: files, folders, partitions, patterns, CSV and object stores."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore, FileSource
from feast.data_format import DeltaFormat
from feast.types import Bool, Float64, Int32, Int64, Map, String, UnixTimestamp

from knownat.errors import RepoError
from knownat.stores.locations import locate, storage_options
from knownat.stores.offline import AsOfOfflineStore
from knownat.stores.repo import Repo
from knownat.stores.scanning import Opened, scan_files
from tests.stores import shop
from tests.stores.made_store import PLACE, make_store, rows, source, view, write
from tests.stores.object_store import ObjectStore, object_store

ASKED = pd.DataFrame({"place": ["a", "b", "01"], "event_timestamp": [shop.at(9)] * 3})


def amounts(store: FeatureStore, feature: str = "stock:amount") -> list[Any]:
    found = store.get_historical_features(entity_df=ASKED, features=[feature]).to_arrow()
    values: list[Any] = found[feature.partition(":")[2]].to_pylist()
    return values


def made(folder: Path, path: str, **options: Any) -> FeatureStore:
    return make_store(folder, PLACE, view(source(path, **options)))


@pytest.mark.parametrize(
    "path", ["data", "data/*.parquet", "data/**/*.parquet", "dat[a]/?.parquet", "file://"]
)
def test_a_folder_and_a_pattern_mean_all_their_files(tmp_path: Path, path: str) -> None:
    write(tmp_path / "data" / "x.parquet", rows(["a"], [1], [1]))
    write(tmp_path / "data" / "y.parquet", rows(["b"], [1], [2]))
    (tmp_path / "data" / ".z.parquet.staged").write_bytes(b"half a file")
    (tmp_path / "data" / "_SUCCESS").write_bytes(b"")
    (tmp_path / "data" / "_temporary").mkdir()
    (tmp_path / "data" / "_temporary" / "z.parquet").write_bytes(b"half a file")
    absolute = f"file://{tmp_path}/data" if path == "file://" else path
    assert amounts(made(tmp_path, absolute)) == [1, 2, None]


def test_wildcards_in_the_repos_own_path_are_none(tmp_path: Path) -> None:
    repo = tmp_path / "repo[1]*"
    write(repo / "data" / "x.parquet", rows(["a"], [1], [1]))
    assert amounts(made(repo, "data/*.parquet")) == [1, None, None]


@pytest.mark.parametrize("path", ["data/none", "data/*.csv", "data/none*/x.parquet"])
def test_what_is_not_there_is_named(tmp_path: Path, path: str) -> None:
    write(tmp_path / "data" / "x.parquet", rows(["a"], [1], [1]))
    with pytest.raises(RepoError, match=r"'stock' has no (CSV|Parquet) file at .*relative to the folder"):
        amounts(made(tmp_path, path))


def test_partitions_are_keys_and_features_of_their_declared_types(tmp_path: Path) -> None:
    for place, day, amount in (("a", 1, 10), ("a", 3, 30), ("01", 1, 7), ("x%2Fy", 1, 8)):
        table = rows([place], [day], [amount]).drop_columns(["place"])
        write(tmp_path / "data" / f"place={place}" / f"day={day}" / "x.parquet", table)
    store = make_store(tmp_path, PLACE, view(source("data"), {"amount": Int64, "day": Int64}))
    # As a number, "01" would be the key of another entity.
    assert amounts(store) == [30, None, 7]
    assert amounts(store, "stock:day") == [3, None, 1]
    query = "SELECT DISTINCT place, day FROM stock ORDER BY ALL"
    asked = f"SELECT *, TIMESTAMPTZ '2024-03-30' AS event_timestamp FROM ({query})"
    found = store.get_historical_features(entity_df=asked, features=["stock:amount"]).to_arrow()
    assert found["place"].to_pylist() == ["01", "a", "a", "x/y"]
    assert found["amount"].to_pylist() == [7, 30, 30, 8]


def test_rows_of_the_null_partition_are_nobodys(tmp_path: Path) -> None:
    for place in ("a", "__HIVE_DEFAULT_PARTITION__"):
        write(
            tmp_path / "data" / f"place={place}" / "x.parquet", rows(["-"], [1], [1]).drop_columns(["place"])
        )
    assert amounts(made(tmp_path, "data")) == [1, None, None]


def test_a_column_that_files_hold_themselves_is_read_from_them(tmp_path: Path) -> None:
    write(tmp_path / "data" / "place=zz" / "x.parquet", rows(["a"], [1], [1]))
    assert amounts(made(tmp_path, "data")) == [1, None, None]


def test_a_path_that_looks_like_a_partition_is_none(tmp_path: Path) -> None:
    repo = tmp_path / "amount=5"
    write(repo / "plain" / "x.parquet", rows(["a"], [1], [1]))
    assert amounts(made(repo, "plain")) == [1, None, None]
    write(repo / "parts" / "day=1" / "x.parquet", rows(["a"], [1], [1]))
    with pytest.raises(RepoError, match=r"so has the path to it: \['amount'\]"):
        amounts(made(repo, "parts"))


def test_a_partition_whose_values_do_not_fit_its_type_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "data" / "day=monday" / "x.parquet", rows(["a"], [1], [1]))
    store = make_store(tmp_path, PLACE, view(source("data"), {"amount": Int64, "day": Int64}))
    with pytest.raises(RepoError, match="monday"):
        amounts(store, "stock:day")


def test_files_written_before_a_feature_was_added_have_none_of_it(tmp_path: Path) -> None:
    write(tmp_path / "data" / "1.parquet", rows(["a"], [1], [1]))
    newer = rows(["b"], [1], [2], level=pa.array([0.5])).set_column(3, "amount", pa.array([2], pa.int32()))
    times = newer["event_timestamp"].cast(pa.timestamp("ns", tz="UTC"))
    write(tmp_path / "data" / "2.parquet", newer.set_column(1, "event_timestamp", times))
    store = make_store(tmp_path, PLACE, view(source("data"), {"amount": Int64, "level": Float64}))
    assert amounts(store) == [1, 2, None]
    assert amounts(store, "stock:level") == [None, 0.5, None]


def test_files_whose_columns_contradict_each_other_are_named(tmp_path: Path) -> None:
    write(tmp_path / "data" / "1.parquet", rows(["a"], [1], [1]))
    write(tmp_path / "data" / "2.parquet", rows(["a"], [1], [1]).set_column(3, "amount", pa.array(["1"])))
    with pytest.raises(RepoError, match=r"column 'amount' is String in .*2\.parquet, but Int64"):
        amounts(made(tmp_path, "data"))


CSV = """place,event_timestamp,created_timestamp,amount,open,level,since,more
a,2024-03-29 01:00:00,2024-03-29T01:00:00Z,9007199254740993,true,0.5,2024-01-01,x
b,2024-03-29T03:00:00.000001+02:00,2024-03-29 03:00+02:00,,False,,,
01,2024-03-29,2024-03-29,-1,,nan,,"a,b"
"""
TYPES = {"amount": Int64, "open": Bool, "level": Float64, "since": UnixTimestamp, "more": String}


def test_csv_has_the_declared_types_and_times_in_utc(tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_text(CSV)
    store = make_store(tmp_path, PLACE, view(source("stock.csv"), TYPES))
    assert amounts(store) == [2**53 + 1, None, -1]
    assert amounts(store, "stock:open") == [True, False, None]
    assert str(amounts(store, "stock:level")) == "[0.5, None, nan]"
    assert amounts(store, "stock:since") == [shop.at(-88 * 24), None, None]
    assert amounts(store, "stock:more") == ["x", None, "a,b"]
    query = "SELECT place, event_timestamp FROM stock WHERE amount > 0 OR NOT open"
    asked = store.get_historical_features(entity_df=query, features=["stock:more"]).to_arrow()
    assert asked["event_timestamp"].to_pylist() == [shop.at(1), shop.at(1, microseconds=1)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("9007199254740993", "1.5"),
        ("9007199254740993", "1_0"),
        ("2024-03-29 01:00:00", "29/03/2024 01:00:00"),
        ("2024-03-29 01:00:00", "2024-03-29 01:00:00.1234567"),
        ("true", "yes"),
    ],
)
def test_a_csv_value_that_does_not_fit_its_type_is_refused(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "stock.csv").write_text(CSV.replace(old, new, 1))
    store = make_store(tmp_path, PLACE, view(source("stock.csv"), TYPES))
    feature = "stock:open" if old == "true" else "stock:amount"
    with pytest.raises(RepoError, match="stock: its table cannot be read"):
        amounts(store, feature)


def test_csv_is_read_through_a_view_that_can_declare_it(tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_text(CSV)
    with pytest.raises(RepoError, match="CSV, which has no types of its own"):
        AsOfOfflineStore.pull_all_from_table_or_query(
            make_store(tmp_path).config, source("stock.csv"), ["place"], ["amount"], "event_timestamp"
        ).to_arrow()
    with pytest.raises(RepoError, match="as text, which cannot hold"):
        amounts(make_store(tmp_path, PLACE, view(source("stock.csv"), {"amount": Int64, "more": Map})))


def test_columns_that_a_definition_leaves_out_are_inferred_from_any_source(tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_text("place,event_timestamp,amount\na,2024-03-29,1\n")
    for place in ("1", "2"):
        write(
            tmp_path / "parts" / f"place={place}" / "x.parquet", rows(["-"], [1], [1]).drop_columns(["place"])
        )
    inferred = {}
    for path in ("stock.csv", "parts"):
        bare = FileSource(name=path, path=path, timestamp_field="event_timestamp")
        store = make_store(tmp_path)
        inferred[path] = dict(
            store.provider.get_table_column_names_and_types_from_data_source(store.config, bare)
        )
    assert inferred["stock.csv"] == {
        "place": "string", "event_timestamp": "timestamp[us, tz=UTC]", "amount": "int64",
    }  # fmt: skip
    assert inferred["parts"]["place"] == "int64"
    assert inferred["parts"]["amount"] == "int64"


@pytest.mark.parametrize(("places", "read"), [(["1", "-2"], [1, -2]), (["01", "2"], ["01", "2"])])
def test_an_undeclared_partition_is_a_number_only_if_no_digit_is_lost(
    tmp_path: Path, places: list[str], read: list[Any]
) -> None:
    for place in places:
        table = rows(["-"], [1], [1]).drop_columns(["place"])
        write(tmp_path / "parts" / f"place={place}" / "x.parquet", table)
    found = AsOfOfflineStore.pull_all_from_table_or_query(
        make_store(tmp_path).config, source("parts"), ["place"], ["amount"], "event_timestamp"
    )
    assert sorted(found.to_arrow()["place"].to_pylist()) == sorted(read)


def test_other_formats_kinds_and_places_are_refused_by_name(tmp_path: Path, repo: Repo) -> None:
    config = repo.store.config
    for wrong, message in (
        (FileSource(path="x", file_format=DeltaFormat()), "is DeltaFormat; this store reads Parquet and CSV"),
        (FileSource(path="ftp://host/x.parquet"), r"is on 'ftp'; this store reads local files and \["),
        (FileSource(path="hdfs://host/x"), "is on 'hdfs'"),
    ):
        with pytest.raises(RepoError, match=message):
            locate(wrong, config)
    with pytest.raises(RepoError, match="repo's folder is not known"):
        locate(FileSource(path="x"), make_store(tmp_path).config.model_copy(update={"repo_path": None}))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An object store that the environment has the keys of."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_REGION", raising=False)
    with object_store() as store:
        yield store


def put(bucket: ObjectStore, key: str, table: pa.Table) -> None:
    body = io.BytesIO()
    pq.write_table(table, body)
    bucket.objects[key] = body.getvalue()


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("s3://b/stock.parquet", ["b/stock.parquet"]),
        ("s3://b/stock", ["b/stock/1.parquet", "b/stock/2.parquet"]),
        ("s3://b/stock/*.parquet", ["b/stock/1.parquet", "b/stock/2.parquet"]),
        ("s3a://b/parts/", ["b/parts/place=a/1.parquet", "b/parts/place=01/2.parquet"]),
    ],
)
def test_tables_in_an_object_store_are_read_by_the_engine(
    tmp_path: Path, bucket: ObjectStore, path: str, keys: list[str]
) -> None:
    for key, place in zip(keys, ("a", "01"), strict=False):
        table = rows([place], [1], [5])
        put(bucket, key, table.drop_columns(["place"]) if "place=" in key else table)
    store = made(tmp_path, path, s3_endpoint_override=bucket.url)
    assert amounts(store) == [5, None, 5 if len(keys) == 2 else None]
    assert {signer for _, _, signer in bucket.seen} == {"tester"}


def test_csv_in_an_object_store_has_its_declared_types(tmp_path: Path, bucket: ObjectStore) -> None:
    bucket.objects["b/stock.csv"] = CSV.encode()
    stock = source("s3://b/stock.csv", s3_endpoint_override=bucket.url)
    assert amounts(make_store(tmp_path, PLACE, view(stock, TYPES))) == [2**53 + 1, None, -1]


def test_an_object_that_is_not_there_is_named(tmp_path: Path, bucket: ObjectStore) -> None:
    for path in ("s3://b/none.parquet", "s3://b/none/"):
        with pytest.raises(RepoError, match="stock: its table cannot be read"):
            amounts(made(tmp_path, path, s3_endpoint_override=bucket.url))


def test_rows_are_added_to_a_folder_of_an_object_store_as_one_more_object(
    tmp_path: Path, bucket: ObjectStore
) -> None:
    put(bucket, "b/stock/1.parquet", rows(["a"], [1], [5]))
    store = made(tmp_path, "s3://b/stock", s3_endpoint_override=bucket.url)
    stock = store.get_feature_view("stock")
    AsOfOfflineStore.offline_write_batch(store.config, stock, rows(["b"], [1], [6]), None)
    assert amounts(store) == [5, 6, None]
    single = made(tmp_path, "s3://b/stock/1.parquet", s3_endpoint_override=bucket.url)
    with pytest.raises(RepoError, match="one would undo the other"):
        AsOfOfflineStore.offline_write_batch(
            single.config, single.get_feature_view("stock"), rows(["b"], [1], [6]), None
        )


def test_what_the_engine_is_told_about_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)

    class Vaulted(FileSource):
        def resolve_credentials(self) -> dict[str, str]:
            return {"AWS_ACCESS_KEY_ID": "k", "AWS_DEFAULT_REGION": "eu-1", "AWS_SESSION_TOKEN": ""}

    assert storage_options(Vaulted(path="s3://b/x", s3_endpoint_override="http://localhost:1")) == {
        "aws_access_key_id": "k",
        "aws_region": "eu-1",
        "aws_endpoint_url": "http://localhost:1",
        "aws_allow_http": "true",
    }
    assert storage_options(FileSource(path="s3://b/x", s3_endpoint_override="minio:9000")) == {
        "aws_endpoint_url": "https://minio:9000",
        "aws_region": "us-east-1",
    }
    assert storage_options(FileSource(path="gs://b/x")) == {}


def test_values_keep_the_width_that_the_file_has(tmp_path: Path) -> None:
    table = rows(["a"], [1], [1]).set_column(3, "amount", pa.array([7], pa.int32()))
    write(tmp_path / "x.parquet", table)
    store = make_store(tmp_path, PLACE, view(source("x.parquet"), {"amount": Int32}))
    found = store.get_historical_features(entity_df=ASKED, features=["stock:amount"]).to_arrow()
    assert found.schema.field("amount").type == pa.int32()


def test_a_csv_with_wildcards_in_its_repos_path_is_read(tmp_path: Path) -> None:
    repo = tmp_path / "repo[1]"
    repo.mkdir()
    (repo / "stock.csv").write_text(CSV)
    assert amounts(make_store(repo, PLACE, view(source("stock.csv"), TYPES))) == [2**53 + 1, None, -1]


def test_objects_that_appear_while_a_table_is_read_do_not_belong_to_it(
    tmp_path: Path, bucket: ObjectStore
) -> None:
    put(bucket, "b/stock/m.parquet", rows(["a"], [1], [5]))
    opened = Opened.now(
        locate(source("s3://b/stock", s3_endpoint_override=bucket.url), make_store(tmp_path).config)
    )
    table = scan_files(opened)
    put(bucket, "b/stock/a.parquet", rows(["b"], [1], [6]))
    assert table.collect()["amount"].to_list() == [5]
    assert opened.unchanged is not None
    assert opened.unchanged()
    put(bucket, "b/stock/m.parquet", rows(["a", "b"], [1, 1], [5, 6]))
    assert not opened.unchanged()


def test_a_file_that_is_rewritten_or_gone_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    for name in ("x", "y"):
        write(tmp_path / "data" / f"{name}.parquet", rows(["a"], [1], [1]))
    opened = Opened.now(locate(source("data"), make_store(tmp_path).config))
    assert opened.unchanged is not None
    write(tmp_path / "data" / "z.parquet", rows(["a"], [1], [1]))
    assert opened.unchanged()
    write(tmp_path / "new.parquet", rows(["a"], [1], [2]))
    (tmp_path / "new.parquet").replace(tmp_path / "data" / "x.parquet")
    assert not opened.unchanged()
    (tmp_path / "data" / "y.parquet").unlink()
    assert not opened.unchanged()
