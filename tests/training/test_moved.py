from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.comparison import count_differing
from training.moved import moved_cells, moved_rows

MOMENT = pa.timestamp("us", tz="UTC")
AT = datetime(2024, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
NAN = float("nan")


def column(*values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("found", "wanted", "count"),
    [
        (column(1.0, None, NAN), column(1.0, NAN, None), 0),
        (column(1.0, 2.0), column(1.0, 2.0000000000000004), 1),
        (column(None, 1), column(2, None), 2),
        (column("a", None), column("a", "b"), 1),
        (column(True, False), column(True, True), 1),
        (column([1, 2], [3], None, [NAN]), column([1, 2], [4], None, [NAN]), 1),
        (column([1], None), column(None, [1]), 2),
    ],
)
def test_cells_are_equal_to_the_last_bit_or_both_missing(found, wanted, count):
    assert count_differing(found, wanted) == count


def test_a_column_that_moved_is_told_with_a_question_to_look_at():
    before = pa.table({"shop": [1, 2, 3], "sum": [5, 6, None], "mean": [1.0, 2.0, 3.0]})
    after = pa.table({"shop": [1, 2, 3], "sum": [5, 7, 8], "mean": [1.0, 2.0, 3.0]})
    (moved,) = moved_cells(before, after, columns=["sum", "mean"], keys=["shop"])
    assert (moved.where, moved.rows) == ("sum", 2)
    assert moved.example == "of the question shop=2 it was 6, and became 7"


def table(path, *rows):
    """Rows of (shop, event, created, value)."""
    names = ("shop", "event_timestamp", "created_timestamp", "value")
    kinds = (pa.int64(), MOMENT, MOMENT, pa.float64())
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
    pq.write_table(pa.table(arrays, names=names), path)
    return path


FIRST, SECOND = (1, AT - HOUR, AT - HOUR, 5.0), (2, AT, AT, 6.0)
LATE = (1, AT - 2 * HOUR, AT + HOUR, 9.0)


@pytest.mark.parametrize(
    ("after", "rows", "told"),
    [
        ([FIRST, SECOND], 0, ""),
        ([FIRST, SECOND, LATE], 0, ""),
        ([FIRST, (2, AT, AT, 7.0)], 1, "shop=2"),
        ([FIRST], 1, "shop=2"),
        ([SECOND], 2, "shop=1"),
        ([], 2, "shop=1"),
        ([FIRST, SECOND, (3, AT, AT, 1.0)], 1, "shop=3"),
    ],
)
def test_only_rows_visible_by_the_instant_can_move(tmp_path, after, rows, told):
    # What was planned for later is no more visible than what came later.
    later = ((5, AT + HOUR, AT + HOUR, 1.0), (6, AT + HOUR, AT - HOUR, 1.0))
    before = table(tmp_path / "before.parquet", FIRST, SECOND, *later)
    visible, moved = moved_rows(
        "orders", before, table(tmp_path / "after.parquet", *after), at=AT, keys=["shop"]
    )
    assert visible == 2
    assert (moved.rows if moved else 0) == rows
    assert told in (moved.example if moved else "")
