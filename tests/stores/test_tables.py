"""What the kernel accepts from a table and from examples, and what it refuses by name."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from knownat.errors import RepoError
from knownat.stores.asof import join_as_of, newest_visible
from knownat.stores.tables import FeatureTable, Window, exact_microseconds, read_rows

US = pl.Datetime("us", "UTC")


def table_of(rows: pl.DataFrame | pl.LazyFrame, **changes: Any) -> FeatureTable:
    settings = {"keys": ("key",), "event": "event", "created": "created", "features": ("value",)}
    return FeatureTable(name="orders", rows=rows.lazy(), **settings | changes)


def rows_of(**columns: Any) -> pl.DataFrame:
    rows = {"key": [1], "event": [0], "created": [0], "value": [7]} | columns
    return pl.DataFrame(rows).with_columns(pl.col("event", "created").cast(US))


def ask(table: FeatureTable, keys: pl.Series, at: int = 10) -> pl.DataFrame:
    examples = pl.DataFrame({"asked": keys}).with_columns(pl.lit(at).cast(US).alias("at"))
    found = join_as_of(
        examples, table, features=["value"], keys=dict.fromkeys(table.keys, "asked"), event_timestamp="at"
    )
    return found.values


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_any_unit_is_read_as_exact_microseconds(unit: Any) -> None:
    moment = datetime(1969, 12, 31, 23, 59, 58, 7000, tzinfo=UTC)
    times = pl.Series("t", [moment]).cast(pl.Datetime(unit, "UTC"))
    assert exact_microseconds(times, where="here").to_list() == [-1_993_000]


def test_nanoseconds_that_microseconds_cannot_hold_are_refused_by_name() -> None:
    times = pl.Series([1_500]).cast(pl.Datetime("ns", "UTC"))
    rows = rows_of().with_columns(event=times)
    with pytest.raises(RepoError, match="orders, column 'event' is finer than a microsecond"):
        ask(table_of(rows), pl.Series([1]))


def test_the_wall_clock_of_another_zone_is_the_same_instant() -> None:
    rows = rows_of(event=[5], created=[5]).with_columns(
        pl.col("event", "created").dt.convert_time_zone("America/New_York")
    )
    assert ask(table_of(rows), pl.Series([1]), at=5)["value"].to_list() == [7]
    assert ask(table_of(rows), pl.Series([1]), at=4)["value"].to_list() == [None]


@pytest.mark.parametrize("window", [Window(until_us=5), Window(since_us=50, until_us=60)])
def test_a_null_created_time_is_refused_and_not_skipped(window: Window) -> None:
    rows = rows_of(key=[1, 1], event=[0, 0], created=[0, None], value=[1, 2])
    with pytest.raises(RepoError, match="'created' is null in 1 rows"):
        read_rows(table_of(rows), ["value"], window)


def test_a_table_without_created_times_was_known_when_it_happened() -> None:
    table = table_of(rows_of(event=[3]).drop("created"), created=None)
    assert ask(table, pl.Series([1]), at=3)["value"].to_list() == [7]
    assert ask(table, pl.Series([1]), at=2)["value"].to_list() == [None]


def test_text_never_matches_an_integer_key() -> None:
    with pytest.raises(RepoError, match="key 'key' is Int64 in the table, but 'asked' is String"):
        ask(table_of(rows_of()), pl.Series(["1"]))


@pytest.mark.parametrize("keys", [pl.Series([1.0]), pl.Series([datetime(2024, 1, 1, tzinfo=UTC)])])
def test_keys_that_could_match_by_rounding_are_refused(keys: pl.Series) -> None:
    with pytest.raises(RepoError, match="a key is an integer, text or boolean"):
        ask(table_of(rows_of()), keys)


@pytest.mark.parametrize("kind", [pl.Int8, pl.Int32, pl.UInt32, pl.Int64])
def test_integers_of_any_width_are_the_same_key(kind: Any) -> None:
    assert ask(table_of(rows_of()), pl.Series([1, 2], dtype=kind))["value"].to_list() == [7, None]


def test_null_keys_match_nothing_not_even_each_other() -> None:
    rows = rows_of(key=[None, 1], event=[0, 0], created=[0, 0], value=[1, 2])
    assert ask(table_of(rows), pl.Series([None, 1], dtype=pl.Int64))["value"].to_list() == [None, 2]
    assert ask(table_of(rows), pl.Series([None, None]))["value"].to_list() == [None, None]


def test_a_view_without_entities_has_one_history() -> None:
    rows = rows_of(event=[0, 5], created=[0, 5], value=[1, 2], key=[1, 1]).drop("key")
    table = table_of(rows, keys=())
    assert ask(table, pl.Series([1, 2, 3]), at=4)["value"].to_list() == [1, 1, 1]
    assert newest_visible(table, since_us=None, until_us=9)["value"].to_list() == [2]


def test_every_key_must_match_when_there_are_several() -> None:
    rows = rows_of(key=[1, 1], other=["a", "b"], event=[0, 1], created=[0, 1], value=[1, 2])
    examples = pl.DataFrame({"k": [1, 1, 1], "o": ["a", "b", "c"], "at": [9, 9, 9]}).with_columns(
        pl.col("at").cast(US)
    )
    found = join_as_of(
        examples,
        table_of(rows, keys=("key", "other")),
        features=["value"],
        keys={"key": "k", "other": "o"},
        event_timestamp="at",
    )
    assert found.values["value"].to_list() == [1, 2, None]


def test_no_examples_and_no_rows_give_typed_empty_columns() -> None:
    empty = rows_of().clear()
    assert ask(table_of(empty), pl.Series([1]))["value"].to_list() == [None]
    none = ask(table_of(rows_of()), pl.Series([], dtype=pl.Int64))
    assert none.schema == {"value": pl.Int64}
    assert none.height == 0


def test_integers_beyond_doubles_stay_exact_beside_nulls() -> None:
    rows = rows_of(key=[1, 2], event=[0, 0], created=[0, 0], value=[2**53 + 1, None])
    found = ask(table_of(rows), pl.Series([1, 2, 3]))["value"]
    assert found.to_list() == [2**53 + 1, None, None]


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(RepoError, match=r"no column \['value'\]; it has \['created', 'event', 'key'\]"):
        ask(table_of(rows_of().drop("value")), pl.Series([1]))


def test_a_full_tie_goes_to_the_greatest_row_though_only_one_feature_is_asked() -> None:
    rows = rows_of(key=[1, 1], event=[0, 0], created=[0, 0], value=[9, 1], also=[1, 2])
    table = table_of(rows, features=("value", "also"))
    assert ask(table, pl.Series([1]))["value"].to_list() == [1]  # 'also' comes before 'value'


def test_an_increment_reads_only_row_groups_that_changed(tmp_path: Path) -> None:
    rows = pl.DataFrame({"key": [1] * 1_000, "event": range(1_000), "value": range(1_000)})
    rows = rows.with_columns(pl.col("event").cast(US), pl.col("event").cast(US).alias("created"))
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=100)
    table = table_of(pl.scan_parquet(tmp_path / "rows.parquet"))
    assert newest_visible(table, since_us=949, until_us=975)["value"].to_list() == [975]


def test_a_table_rewritten_between_two_reads_is_refused() -> None:
    table = table_of(rows_of(), unchanged=lambda: False)
    with pytest.raises(RepoError, match="orders: its table was rewritten while it was read"):
        ask(table, pl.Series([1]))
