"""The generic runner, on a shop's orders: what it builds, keeps, refuses and leaves alone."""

import zipfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.errors import ConfigError
from knownat.stores.feature_tables import TableError
from knownat.stores.pipelines import PipelineError, build_features, query_events
from knownat.stores.raw_files import RawFileError

TOML = """
[raw.orders]
path = "orders.csv"
null = "?"
columns = { customer = "VARCHAR", paid_at = "TIMESTAMPTZ", cents = "BIGINT" }

[[event]]
name = "orders"
sql = "orders.sql"
known_at = "paid_at + INTERVAL 1 HOUR"

[[feature]]
name = "customer_orders"
sql = "customer_orders.sql"
keys = ["customer"]
"""

ORDERS = "SELECT customer, paid_at, cents FROM raw_orders"

FEATURE = """
SELECT customer, paid_at AS event_timestamp, known_at AS created_timestamp,
    CAST(sum(cents) OVER (PARTITION BY customer ORDER BY known_at) AS BIGINT) AS order_value_cents
FROM orders
"""

CSV = """customer,paid_at,cents
ann,2024-01-02T00:00:00Z,300
bob,2024-01-01T00:00:00Z,?
ann,2024-01-01T00:00:00Z,100
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "pipelines").mkdir(parents=True)
    (folder / "orders.csv").write_text(CSV)
    (folder / "pipelines" / "pipelines.toml").write_text(TOML)
    (folder / "pipelines" / "orders.sql").write_text(ORDERS)
    (folder / "pipelines" / "customer_orders.sql").write_text(FEATURE)
    return folder


def write_feature(repo: Path, sql: str) -> None:
    (repo / "pipelines" / "customer_orders.sql").write_text(sql)


def test_rows_are_sorted_by_when_they_became_visible(repo: Path) -> None:
    (built,) = build_features(repo)
    table = pq.read_table(built.path)
    assert built.path == repo / "data" / "customer_orders.parquet"
    assert table["customer"].to_pylist() == ["ann", "bob", "ann"]
    assert table["order_value_cents"].to_pylist() == [100, None, 400]
    assert table.schema.field("created_timestamp").type == pa.timestamp("us", tz="UTC")


def test_building_twice_gives_the_same_bytes(repo: Path, tmp_path: Path) -> None:
    (once,), (again,) = build_features(repo), build_features(repo, output=tmp_path / "again")
    assert once.path.read_bytes() == again.path.read_bytes()
    assert once.sha256 == again.sha256


def test_a_table_is_kept_while_nothing_changed(repo: Path) -> None:
    (once,) = build_features(repo)
    written = once.path.stat().st_mtime_ns
    (again,) = build_features(repo)
    assert again.path.stat().st_mtime_ns == written
    assert (again.rows, again.sha256, again.seconds) == (3, once.sha256, 0.0)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("orders.csv", "300", "301"),
        ("pipelines/orders.sql", "cents FROM", "cents + 1 AS cents FROM"),
        ("pipelines/customer_orders.sql", "sum(cents)", "max(cents)"),
        ("pipelines/pipelines.toml", "1 HOUR", "2 HOURS"),
    ],
)
def test_a_changed_input_changes_the_table(repo: Path, file: str, old: str, new: str) -> None:
    (once,) = build_features(repo)
    (repo / file).write_text((repo / file).read_text().replace(old, new))
    (again,) = build_features(repo)
    assert again.sha256 != once.sha256


@pytest.mark.parametrize("name", ["customer_orders.parquet", "events/orders.parquet", "built.json"])
def test_a_damaged_file_is_made_again(repo: Path, name: str) -> None:
    (once,) = build_features(repo)
    whole = (repo / "data" / name).read_bytes()
    (repo / "data" / name).write_bytes(whole[:-9])
    (again,) = build_features(repo)
    assert again.sha256 == once.sha256
    assert (repo / "data" / name).read_bytes() == whole


def test_a_failed_build_leaves_the_table_of_before(repo: Path) -> None:
    (once,) = build_features(repo)
    write_feature(repo, FEATURE + " UNION ALL " + FEATURE)
    with pytest.raises(TableError, match="two rows"):
        build_features(repo)
    assert pq.read_table(once.path).num_rows == 3
    assert sorted(path.name for path in (repo / "data").iterdir()) == [
        "built.json",
        "customer_orders.parquet",
        "events",
    ]


def test_rows_that_differ_in_one_time_are_not_the_same(repo: Path) -> None:
    later = FEATURE.replace("known_at AS created", "known_at + INTERVAL 1 HOUR AS created")
    write_feature(repo, FEATURE + " UNION ALL " + later)
    (built,) = build_features(repo)
    assert built.rows == 6


def test_a_row_group_boundary_hides_no_duplicate(repo: Path) -> None:
    many = """SELECT 'ann' AS customer, TIMESTAMPTZ '2024-01-01 00:00:00Z' + to_minutes(n) AS event_timestamp,
        event_timestamp AS created_timestamp, n AS value FROM range(16384) AS r (n)"""
    write_feature(repo, many + " UNION ALL " + many.replace("range(16384)", "range(16383, 16384)"))
    with pytest.raises(TableError, match="two rows"):
        build_features(repo)


def test_a_zip_archive_is_read_like_the_file_in_it(repo: Path) -> None:
    (plain,) = build_features(repo)
    with zipfile.ZipFile(repo / "orders.csv.zip", "w") as archive:
        archive.writestr("orders.csv", CSV)
    toml = (repo / "pipelines" / "pipelines.toml").read_text()
    (repo / "pipelines" / "pipelines.toml").write_text(toml.replace("orders.csv", "orders.csv.zip"))
    (packed,) = build_features(repo)
    assert packed.sha256 == plain.sha256


def test_a_package_that_is_not_installed_is_named(repo: Path) -> None:
    toml = (repo / "pipelines" / "pipelines.toml").read_text()
    changed = toml.replace('path = "orders.csv"', 'package = "no_such_data"\npath = "orders.csv"')
    (repo / "pipelines" / "pipelines.toml").write_text(changed)
    with pytest.raises(RawFileError, match="'no_such_data', which is not installed"):
        build_features(repo)


@pytest.mark.parametrize(
    ("csv", "said"),
    [
        ("customer,cents,paid_at\n", "has the columns"),
        (CSV.replace("300", "many"), "does not fit"),
        (CSV.replace(",300", ""), "does not fit"),
    ],
)
def test_a_raw_file_unlike_its_declaration_is_refused(repo: Path, csv: str, said: str) -> None:
    (repo / "orders.csv").write_text(csv)
    with pytest.raises(RawFileError, match=said):
        build_features(repo)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("known_at AS created_timestamp", "NULL::TIMESTAMPTZ AS created_timestamp", "without"),
        ("known_at AS created_timestamp", "known_at::TIMESTAMP AS created_timestamp", "TIMESTAMPTZ"),
        ("known_at AS created_timestamp,", "", "lacks"),
        ("SELECT customer,", "SELECT NULL::VARCHAR AS customer,", "without"),
        ("AS BIGINT)", "AS HUGEINT)", "cast it"),
        ("FROM orders", "FROM raw_orders", "raw_orders"),
        ("SELECT customer", "SELEC customer", "customer_orders.sql"),
    ],
    ids=["null time", "naive time", "no created", "null key", "wide integer", "raw file", "syntax"],
)
def test_a_feature_that_cannot_be_served_is_refused(repo: Path, old: str, new: str, said: str) -> None:
    write_feature(repo, FEATURE.replace(old, new))
    with pytest.raises((TableError, PipelineError), match=said):
        build_features(repo)


@pytest.mark.parametrize(
    ("known_at", "said"), [("NULL::TIMESTAMPTZ", "without"), ("paid_at::TIMESTAMP", "TIMESTAMPTZ")]
)
def test_an_event_must_say_when_it_became_known(repo: Path, known_at: str, said: str) -> None:
    toml = (repo / "pipelines" / "pipelines.toml").read_text()
    (repo / "pipelines" / "pipelines.toml").write_text(toml.replace("paid_at + INTERVAL 1 HOUR", known_at))
    with pytest.raises((TableError, PipelineError), match=said):
        build_features(repo)


def test_every_problem_of_a_declaration_is_told_at_once(repo: Path) -> None:
    broken = TOML.replace("known_at =", "knownat =").replace('keys = ["customer"]', "keys = []")
    (repo / "pipelines" / "pipelines.toml").write_text(broken)
    with pytest.raises(ConfigError) as caught:
        build_features(repo)
    assert len(caught.value.problems) == 3
    assert "pipelines.toml" in str(caught.value)


def test_a_missing_sql_file_is_named(repo: Path) -> None:
    (repo / "pipelines" / "orders.sql").unlink()
    with pytest.raises(ConfigError, match=r"orders: there is no SQL file 'orders\.sql'"):
        build_features(repo)


def test_a_rewrite_reaches_the_features_and_nothing_real(repo: Path, tmp_path: Path) -> None:
    (real,) = build_features(repo)

    def lose_bob(connection: duckdb.DuckDBPyConnection, events: list[str]) -> None:
        assert events == ["orders"]
        connection.execute("DELETE FROM orders WHERE customer = 'bob'")

    (rewritten,) = build_features(repo, output=tmp_path / "what_if", rewrite=lose_bob)
    assert (rewritten.rows, pq.read_table(real.path).num_rows) == (2, 3)
    (kept,) = build_features(repo, output=tmp_path / "what_if")
    assert kept.rows == 3, "a rewritten table must not be taken for a real one"


def test_a_rewrite_without_a_folder_of_its_own_is_refused(repo: Path) -> None:
    with pytest.raises(PipelineError, match="output"):
        build_features(repo, rewrite=lambda connection, events: None)


def test_examples_see_the_events_and_when_they_became_known(repo: Path) -> None:
    build_features(repo)
    query = repo / "examples.sql"
    query.write_text("SELECT customer, known_at FROM orders WHERE cents IS NULL")
    assert query_events(repo, query).schema.types == [pa.string(), pa.timestamp("us", tz="UTC")]
    assert query_events(repo, query)["customer"].to_pylist() == ["bob"]


def test_examples_before_a_build_are_told_to_build(repo: Path) -> None:
    with pytest.raises(PipelineError, match="knownat features build"):
        query_events(repo, repo / "pipelines" / "orders.sql")


def test_progress_hears_of_every_table(repo: Path) -> None:
    heard: list[str] = []
    build_features(repo, progress=heard.append)
    assert heard == ["orders", "customer_orders"]
