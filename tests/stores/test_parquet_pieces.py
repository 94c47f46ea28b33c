"""Which files are read in pieces, what a footer leaves out, and that values are the engine's own."""

from dataclasses import replace
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.errors import RepoError
from knownat.stores import parquet_pieces
from knownat.stores.asof import join_as_of
from knownat.stores.parquet_pieces import Bounds, Pieces
from knownat.stores.picking import read_columns
from knownat.stores.tables import FeatureTable, Window, count_rows, read_times_of, time_groups

US = pa.timestamp("us", tz="UTC")


@pytest.fixture(autouse=True)
def _any_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_pieces, "_LARGE_FILE", 0)


def hours(*values: int | None) -> pa.Array:
    return pa.array([None if h is None else h * 3_600_000_000 for h in values], pa.int64()).cast(US)


def table_of(folder: Path, *parts: pa.Table, row_group_size: int = 2, **options: Any) -> FeatureTable:
    files = []
    for number, part in enumerate(parts):
        files.append(str(folder / f"{number}.parquet"))
        pq.write_table(part, files[-1], row_group_size=row_group_size, **options)
    rows = pl.scan_parquet(files[0], glob=False)
    return FeatureTable(
        name="orders",
        rows=rows,
        keys=("key",),
        event="event",
        created="created",
        features=("value",),
        pieces=Pieces(tuple(files), rows.collect_schema(), {}),
    ).numbered()


def orders(**columns: Any) -> pa.Table:
    size = len(columns.get("event", hours(1, 2, 3, 4)))
    plain = {
        "key": pa.array([1] * size, pa.int64()),
        "event": hours(*range(1, size + 1)),
        "created": hours(*range(1, size + 1)),
        "value": pa.array([*range(size)], pa.int64()),
    }
    return pa.table(plain | columns)


def fits(table: FeatureTable, name: str = "value") -> bool:
    assert table.pieces is not None
    return table.pieces.fit([name])


def test_columns_of_fixed_width_fit(tmp_path: Path) -> None:
    assert fits(table_of(tmp_path, orders()))


@pytest.mark.parametrize(
    "value",
    [
        pa.array(["a", "b", "c", None]),
        pa.array(["a", "b", "c", "a"]).dictionary_encode(),
        pa.array([True, False, True, None]),
        pa.array([[1.0], [], [2.0], None]),
        pa.array([1, 2, 3, 4], pa.decimal128(9, 2)),
    ],
    ids=lambda value: str(value.type),
)
def test_other_columns_are_the_engine_s(tmp_path: Path, value: pa.Array) -> None:
    assert not fits(table_of(tmp_path, orders(value=value)))


def test_a_file_without_the_column_or_with_another_type_is_the_engine_s(tmp_path: Path) -> None:
    assert not fits(table_of(tmp_path, orders(), orders().drop_columns(["value"])))
    assert not fits(table_of(tmp_path, orders(), orders(value=pa.array([1, 2, 3, 4], pa.int32()))))


def test_a_nested_name_a_time_of_96_bits_and_a_small_file_are_the_engine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not fits(table_of(tmp_path, orders(**{"a.b": pa.array([1, 2, 3, 4])})), "a.b")
    old = table_of(tmp_path, orders(), use_deprecated_int96_timestamps=True)
    assert not fits(old, "event")
    monkeypatch.setattr(parquet_pieces, "_LARGE_FILE", 1 << 20)
    assert not fits(table_of(tmp_path, orders()))


def test_a_row_group_too_large_for_memory_is_the_engine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_pieces, "_LARGEST_ROW_GROUP", 3)
    assert not fits(table_of(tmp_path, orders(), row_group_size=4))


HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("window", "positions"),
    [
        (Window(), [[0, 1], [2, 3]]),
        (Window(until_us=2 * HOUR), [[0, 1]]),
        (Window(until_us=3 * HOUR), [[0, 1], [2]]),
        (Window(since_us=2 * HOUR), [[2, 3]]),
        (Window(since_us=2 * HOUR - 1), [[1], [2, 3]]),
        (Window(event_from_us=3 * HOUR), [[2, 3]]),
        (Window(event_from_us=5 * HOUR), []),
    ],
)
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_row_groups_that_cannot_answer_are_left_out(
    tmp_path: Path, window: Window, positions: list[list[int]], unit: str
) -> None:
    times = {name: orders()[name].cast(pa.timestamp(unit, tz="UTC")) for name in ("event", "created")}
    table = table_of(tmp_path, orders(**times))
    groups = time_groups(table, window)
    assert groups is not None
    found = [piece["__position"].to_list() for piece in read_times_of(table, groups, window)]
    assert found == positions
    assert len(groups) == len(positions)


def test_a_late_row_keeps_its_group_in_the_window_in_which_it_became_known() -> None:
    event, created = Bounds(1, 2), Bounds(1, 9)
    assert not Window(since_us=5).leaves_out(event, created)
    assert Window(since_us=5, created_cutoff=False).leaves_out(event, created)
    assert Window(since_us=9).leaves_out(event, created)
    assert not Window(since_us=9, until_us=0, event_from_us=99).leaves_out(Bounds(), Bounds())


def test_a_footer_without_statistics_leaves_the_file_to_the_engine(tmp_path: Path) -> None:
    assert time_groups(table_of(tmp_path, orders(), write_statistics=False), Window()) is None


@pytest.mark.parametrize("files", [2, 17])
def test_rows_are_counted_by_footers_of_few_files_and_by_the_engine_of_many(
    tmp_path: Path, files: int
) -> None:
    table = table_of(tmp_path, *[orders()] * files)
    assert table.pieces is not None
    rows = pl.scan_parquet([*table.pieces.files]).with_row_index("__position")
    assert count_rows(replace(table, rows=rows)) == 4 * files


def test_some_of_a_table_s_rows_are_read_by_the_engine(tmp_path: Path) -> None:
    table = table_of(tmp_path, orders())
    assert time_groups(table.narrowed(table.rows.head(1)), Window()) is None


def test_null_times_are_refused_with_the_number_of_them_all(tmp_path: Path) -> None:
    table = table_of(tmp_path, orders(created=hours(None, 2, None, 4)))
    asked = pl.Series([9 * HOUR]).cast(pl.Datetime("us", "UTC"))
    examples = pl.DataFrame({"key": [1], "at": asked})
    with pytest.raises(RepoError, match="'created' is null in 2 rows"):
        join_as_of(examples, table, features=["value"], keys={"key": "key"}, event_timestamp="at")


VALUES = {
    "int8": pa.array([1, -2, 3, 4], pa.int8()),
    "uint64": pa.array([1, 2**64 - 1, 3, 4], pa.uint64()),
    "float32": pa.array([1.5, float("nan"), -0.0, 4], pa.float32()),
    "date": pa.array([date(1969, 12, 31), date(2024, 2, 29), date(1, 1, 1), date(9999, 12, 31)]),
    "moment": hours(-1, 0, 1, 2).cast(pa.timestamp("ms", tz="Europe/Berlin")),
    "span": pa.array([timedelta(days=-1), timedelta(0), timedelta(1), timedelta(2)]),
    "clock": pa.array([time(0), time(23, 59, 59), time(1), time(2)], pa.time64("us")),
    "holes": pa.array([1, None, 3, None], pa.int64()),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_those_that_the_engine_reads(tmp_path: Path, name: str) -> None:
    several = [orders(value=VALUES[name]), orders(value=VALUES[name].take(pa.array([3, 2, 1, 0])))]
    table = table_of(tmp_path, *several, row_group_size=3)
    assert table.pieces is not None
    engine = pl.read_parquet([*table.pieces.files])["value"]
    picked = np.array([7, -1, 3, 4, 0, 2], dtype=np.int32)
    whole = replace(table, rows=pl.scan_parquet([*table.pieces.files]), origin=None)
    for most_rows in (2, 100):
        (found,) = read_columns(whole, ["value"], picked, most_rows=most_rows)
        expected = engine.gather([7, 0, 3, 4, 0, 2]).scatter(1, None)
        assert found.equals(expected, null_equal=True)
        assert found.dtype == engine.dtype
