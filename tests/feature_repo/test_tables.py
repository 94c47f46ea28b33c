"""What the pipelines made of the year, against numbers counted on the raw files."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from knownat.stores.pipelines import BuiltTable, query_events
from tests.feature_repo.as_of import AsOfTable, read_frame

HOUR = 3600
Tables = dict[str, BuiltTable]


@pytest.fixture(scope="module")
def examples(repo: Path, tables: Tables) -> pa.Table:
    return query_events(repo, repo / "models" / "late_arrival.sql", data=tables["aircraft"].path.parent)


@pytest.fixture
def events(tables: Tables) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for file in (tables["aircraft"].path.parent / "events").glob("*.parquet"):
        connection.execute(f"CREATE VIEW {file.stem} AS FROM read_parquet('{file}')")
    return connection


def test_every_table_has_both_times_in_utc_microseconds_and_never_a_null(tables: Tables) -> None:
    for table in tables.values():
        read = pq.read_table(table.path, columns=["event_timestamp", "created_timestamp"])
        assert read.schema.types == [pa.timestamp("us", tz="UTC")] * 2, table.name
        assert [column.null_count for column in read.columns] == [0, 0], table.name


def test_rows_lie_in_the_order_in_which_they_became_visible(tables: Tables) -> None:
    for table in tables.values():
        times = pq.read_table(table.path, columns=["event_timestamp", "created_timestamp"])
        visible = np.maximum(*(column.cast("int64").to_numpy() for column in times.columns))
        assert (visible[1:] >= visible[:-1]).all(), table.name


def test_stored_features_are_whole_numbers_or_names(tables: Tables) -> None:
    kinds = {field.type for table in tables.values() for field in pq.read_schema(table.path)}
    assert kinds == {pa.int64(), pa.string(), pa.timestamp("us", tz="UTC")}


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("schedules", 336_776),
        ("departures", 328_521),
        ("arrivals", 327_346),
        ("closures", 9_430),
        ("weather_reports", 26_115),
        ("aircraft", 3_322),
    ],
)
def test_every_event_of_the_year_is_there_once(
    events: duckdb.DuckDBPyConnection, table: str, rows: int
) -> None:
    assert events.sql(f"SELECT count(*), count(known_at) FROM {table}").fetchall() == [(rows, rows)]


def test_times_built_from_delays_agree_with_the_clocks_of_the_airports(
    events: duckdb.DuckDBPyConnection, raw: object
) -> None:
    flights = raw.flights[["carrier", "flight", "origin", "dest", "scheduled", "dep_time"]]
    events.register("raw_flights", flights)
    disagree = events.sql("""
        SELECT count(*)
        FROM departures JOIN raw_flights AS raw USING (carrier, flight, origin, dest)
        WHERE epoch(departures.scheduled_departure) = raw.scheduled
            AND strftime(departed_at AT TIME ZONE 'America/New_York', '%H%M')::INTEGER != raw.dep_time % 2400
    """).fetchall()
    assert disagree == [(0,)]


def test_a_question_stands_two_hours_before_departure_and_its_label_comes_with_the_arrival(
    examples: pa.Table,
) -> None:
    found = duckdb.sql("""
        SELECT
            count(*),
            count(label),
            count(label_timestamp),
            round(median(epoch(label_timestamp - event_timestamp)) FILTER (label IS NOT NULL) / 3600, 1),
            round(max(epoch(label_timestamp - event_timestamp)) FILTER (label IS NOT NULL) / 3600, 1),
            bool_and(question_epoch_us = epoch_us(event_timestamp)),
            bool_and(scheduled_departure_epoch_s = epoch(event_timestamp) + 7200),
            round(avg(label), 3)
        FROM examples
    """).fetchall()
    assert found == [(336_776, 327_346, 336_776, 4.8, 34.7, True, True, 0.237)]


def test_the_last_quarter_holds_82609_labelled_flights_of_which_221_in_1000_are_late(
    examples: pa.Table,
) -> None:
    found = duckdb.sql("""
        SELECT count(label), round(avg(label), 3)
        FROM examples
        WHERE (event_timestamp + INTERVAL 2 HOURS) AT TIME ZONE 'America/New_York' >= '2013-10-01'
    """).fetchall()
    assert found == [(82_609, 0.221)]


def test_no_labelled_flight_lacks_a_tail_number(examples: pa.Table) -> None:
    labelled = examples.filter(pc.is_valid(examples["label"]))
    assert (examples["tailnum"].null_count, labelled["tailnum"].null_count) == (2_512, 0)


def test_both_models_ask_the_same_questions(repo: Path, tables: Tables, examples: pa.Table) -> None:
    data = tables["aircraft"].path.parent
    minutes = query_events(repo, repo / "models" / "minutes_late.sql", data=data)
    assert minutes.drop(["label"]).equals(examples.drop(["label"]))
    late = pc.cast(pc.greater(minutes["label"], 15), pa.int64())
    assert late.equals(examples["label"])


def test_a_report_is_not_visible_at_the_hour_of_its_label(tables: Tables) -> None:
    table = AsOfTable(tables["weather_report"], "origin")
    label = 1_381_845_600  # 2013-10-15 14:00Z
    before = table.newest("JFK", at_s=label + HOUR - 1)
    after = table.newest("JFK", at_s=label + HOUR)
    assert (before["weather_label_epoch_s"], after["weather_label_epoch_s"]) == (label - HOUR, label)


def test_an_impossible_wind_is_no_wind(tables: Tables) -> None:
    assert read_frame(tables["weather_report"])["weather_wind_speed_kt"].max() == 37


@pytest.mark.parametrize(
    "name", ["origin_departures", "metro_arrivals", "carrier_origin_departures", "flight_number_arrivals"]
)
def test_a_window_decays_to_zero_when_nothing_happens(repo: Path, tables: Tables, name: str) -> None:
    keys = {"origin_departures": ["origin"], "metro_arrivals": ["metro"],
            "carrier_origin_departures": ["carrier", "origin"],
            "flight_number_arrivals": ["carrier", "flight", "origin", "dest"]}[name]  # fmt: skip
    frame = read_frame(tables[name])
    last = frame.groupby(keys).tail(1)
    values = last.drop(columns=[*keys, "event_timestamp", "created_timestamp"])
    assert not values.to_numpy().any()
    assert frame.filter(like="count").min().min() == 0
