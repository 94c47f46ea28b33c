"""The prediction log from writer to reader: each row once, whatever was interrupted."""

import errno
import math
import os
import resource
import struct
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.clock import from_us
from knownat.contract.log_reader import (
    TORN_BYTES,
    Wanted,
    journals_in,
    read_labels,
    read_parts,
    read_predictions,
    segment_of,
)
from knownat.contract.prediction_log import LABEL_SCHEMA, TIMESTAMP, prediction_schema
from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan
from knownat.errors import LogError
from serving.prediction_log import LogBook
from serving.sealing import seal_beside, seal_journal, seal_orphans

START = datetime(2013, 10, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)
START_US = 1_381_795_200_000_000


def plan_with(**features):
    view = PlanView(
        name="orders",
        keys=(PlanKey(view_key="id", request_key="id", dtype="string"),),
        ttl_us=0,
        features=tuple(PlanFeature(name=name, dtype=dtype) for name, dtype in features.items()),
    )
    return ReadPlan(project="shop", feature_service="basket", views=(view,), output_columns=())


def row_of(schema, number, **values):
    """One row of a log; what is not given is a default of its type."""
    defaults = {pa.string(): "x", pa.float64(): 0.5, pa.int64(): 1, pa.bool_(): False, TIMESTAMP: START_US}
    given = {"prediction_id": f"basket.{number:04d}", "event_timestamp": START_US + number, **values}
    return tuple(given.get(field.name, defaults[field.type]) for field in schema)


SCHEMA = prediction_schema(plan_with(count="int64", mean="float64"))


@pytest.fixture
def book(tmp_path):
    book = LogBook(tmp_path)
    yield book
    book.close()


def ids(root, start=START, end=START + HOUR, **given):
    return read_predictions(root, "basket", start=start, end=end, **given)["prediction_id"].to_pylist()


def test_sealing_changes_where_rows_lie_and_nothing_else(tmp_path):
    book = LogBook(tmp_path, max_bytes=1)  # a journal an append
    log = book.predictions("basket", "1", SCHEMA)
    payload_nan = struct.unpack("<d", b"\x01\x00\x00\x00\x00\x00\xf8\x7f")[0]
    means = [payload_nan, math.nan, math.inf, -0.0, 0.0, None, 5e-324]
    for first in (0, 10):
        log.append(
            [
                row_of(SCHEMA, first + n, orders__mean=mean, orders__count=2**63 - 1 - n)
                for n, mean in enumerate(means)
            ]
        )

    before = read_predictions(tmp_path, "basket", start=START, end=START + HOUR)
    book.close()
    after = read_predictions(tmp_path, "basket", start=START, end=START + HOUR)

    def bits(table):
        return [None if v is None else struct.pack("<d", v) for v in table["orders__mean"].to_pylist()]

    assert journals_in(tmp_path / "basket" / "1") == []
    assert len(list((tmp_path / "basket" / "1").glob("segment-*"))) == 2
    assert before.schema == after.schema
    assert bits(before) == bits(after)
    assert bits(after)[0] != bits(after)[1]
    assert before.drop(["orders__mean"]) == after.drop(["orders__mean"])


@given(asked=st.lists(st.integers(0, 20), min_size=1, max_size=12), at=st.tuples(*[st.integers(0, 21)] * 2))
def test_a_window_holds_its_start_and_not_its_end(tmp_path_factory, asked, at):
    book = LogBook(tmp_path_factory.mktemp("log"))
    book.predictions("basket", "1", SCHEMA).append(
        [row_of(SCHEMA, n, event_timestamp=START_US + when) for n, when in enumerate(asked)]
    )

    found = ids(book.root, start=from_us(START_US + at[0]), end=from_us(START_US + at[1]))
    book.close()

    assert sorted(found) == [f"basket.{n:04d}" for n, when in enumerate(asked) if at[0] <= when < at[1]]


def test_a_crash_between_rename_and_removal_repeats_nothing(tmp_path, book):
    log = book.predictions("basket", "1", SCHEMA)
    log.append([row_of(SCHEMA, n) for n in range(3)])
    log.rotate()
    (journal,) = journals_in(log.folder)
    content = journal.read_bytes()
    seal_journal(journal)
    journal.write_bytes(content)

    assert ids(tmp_path) == ["basket.0000", "basket.0001", "basket.0002"]
    assert seal_orphans(log.folder) == [segment_of(journal)]
    assert ids(tmp_path) == ["basket.0000", "basket.0001", "basket.0002"]
    assert journals_in(log.folder) == []


def test_a_crash_before_the_rename_leaves_the_journal(tmp_path, book):
    log = book.predictions("basket", "1", SCHEMA)
    log.append([row_of(SCHEMA, 0)])
    log.rotate()
    (journal,) = journals_in(log.folder)
    segment_of(journal).with_name(f".{segment_of(journal).name}").write_bytes(b"PAR1")

    assert ids(tmp_path) == ["basket.0000"]
    assert seal_orphans(log.folder) == [segment_of(journal)]
    assert ids(tmp_path) == ["basket.0000"]


def test_a_segment_that_does_not_fit_leaves_the_journal_and_nothing_else(tmp_path, book, monkeypatch):
    log = book.predictions("basket", "1", SCHEMA)
    log.append([row_of(SCHEMA, 0)])
    log.rotate()
    journals = journals_in(log.folder)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        seal_orphans(log.folder)

    assert list(log.folder.iterdir()) == journals
    assert ids(tmp_path) == ["basket.0000"]


def test_a_long_journal_is_sealed_by_another_process(tmp_path, book):
    log = book.predictions("basket", "1", SCHEMA)
    log.append([row_of(SCHEMA, n) for n in range(3_000)])
    log.rotate()
    (journal,) = journals_in(log.folder)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    seal_beside(journal)

    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > children
    assert list(log.folder.iterdir()) == [segment_of(journal)]
    assert len(ids(tmp_path)) == 3_000


def test_a_long_journal_that_cannot_be_sealed_stays_and_is_named(tmp_path, book):
    log = book.predictions("basket", "1", SCHEMA)
    log.append([row_of(SCHEMA, n) for n in range(3_000)])
    log.rotate()
    (journal,) = journals_in(log.folder)
    journal.write_bytes(b"no journal" + journal.read_bytes())

    with pytest.raises(LogError, match=r"was not sealed: .*is not a journal"):
        seal_beside(journal)

    assert list(log.folder.iterdir()) == [journal]


def test_a_torn_tail_is_counted_before_and_after_sealing(tmp_path, book):
    log = book.predictions("basket", "1", SCHEMA)
    log.append([row_of(SCHEMA, n) for n in range(3)])
    log.rotate()
    (journal,) = journals_in(log.folder)
    os.truncate(journal, journal.stat().st_size - 5)

    torn = [part.torn_bytes for part in read_parts(log.folder)]
    seal_orphans(log.folder)

    found = read_predictions(tmp_path, "basket", start=START, end=START + HOUR)
    assert found["prediction_id"].to_pylist() == ["basket.0000", "basket.0001"]
    assert torn[0] > 0
    assert [part.torn_bytes for part in read_parts(log.folder)] == torn
    assert found.schema.metadata == {TORN_BYTES: str(torn[0]).encode()}
    assert [path.name for path in log.folder.glob("torn-*")] == [f"torn-{journal.name[8:]}"]


def test_a_journal_with_a_living_writer_is_not_sealed(tmp_path, book):
    log = book.predictions("basket", "1", SCHEMA)
    log.append([row_of(SCHEMA, 0)])

    assert seal_orphans(log.folder) == []
    assert log.append([row_of(SCHEMA, 1)]) is None
    assert ids(tmp_path) == ["basket.0000", "basket.0001"]


def test_journals_of_a_dead_writer_are_recovered_by_the_next(tmp_path):
    dead = LogBook(tmp_path)
    log = dead.predictions("basket", "1", SCHEMA)
    log.append([row_of(SCHEMA, 0)])
    log.rotate()

    following = LogBook(tmp_path)
    following.start()
    following.close()

    assert journals_in(log.folder) == []
    assert ids(tmp_path) == ["basket.0000"]


def test_versions_with_other_columns_are_read_together(tmp_path, book):
    other = prediction_schema(plan_with(count="float64", share="float64"))
    book.predictions("basket", "1", SCHEMA).append([row_of(SCHEMA, 0, version="1", orders__count=3)])
    book.predictions("basket", "2", other).append([row_of(other, 1, version="2", orders__share=0.25)])

    found = read_predictions(tmp_path, "basket", start=START, end=START + HOUR)

    assert found["version"].to_pylist() == ["1", "2"]
    assert found["orders__count"].to_pylist() == [3.0, 0.5]
    assert found["orders__share"].to_pylist() == [None, 0.25]
    assert ids(tmp_path, version="2") == ["basket.0001"]


def test_versions_that_do_not_unite_are_named(tmp_path, book):
    other = prediction_schema(plan_with(count="string"))
    book.predictions("basket", "1", SCHEMA).append([row_of(SCHEMA, 0)])
    book.predictions("basket", "2", other).append([row_of(other, 1)])

    with pytest.raises(LogError, match="'basket' log a column with types that do not unite"):
        ids(tmp_path)


def test_an_empty_window_has_the_columns_of_the_log(tmp_path, book):
    empty = read_predictions(tmp_path, "basket", start=START, end=START + HOUR)
    book.predictions("basket", "1", SCHEMA)

    assert {"prediction_id", "event_timestamp", "score"} <= set(empty.column_names)
    assert read_predictions(tmp_path, "basket", start=START, end=START).schema.names == SCHEMA.names
    assert read_labels(tmp_path).schema == LABEL_SCHEMA


def test_few_columns_of_a_span_are_those_of_all(tmp_path):
    book = LogBook(tmp_path, max_bytes=1)  # a journal an append
    log = book.predictions("basket", "1", SCHEMA)
    for first in (0, 4, 8):
        log.append([row_of(SCHEMA, first + i, orders__count=i) for i in range(4)])
    seal_journal(journals_in(log.folder)[0])
    span = {"start": from_us(START_US + 2), "end": from_us(START_US + 10)}
    columns = ("prediction_id", "logged_at", "event_timestamp", "orders__count")

    few = read_predictions(tmp_path, "basket", **span, columns=columns)
    book.close()

    assert set(few.column_names) == set(columns)
    assert few.equals(read_predictions(tmp_path, "basket", **span).select(few.column_names))
    assert few["orders__count"].to_pylist() == [2, 3, 0, 1, 2, 3, 0, 1]


def test_a_segment_outside_the_span_is_not_decoded(tmp_path):
    book = LogBook(tmp_path, max_bytes=1)
    log = book.predictions("basket", "1", SCHEMA)
    for hour in range(3):
        log.append([row_of(SCHEMA, hour, event_timestamp=START_US + hour * 3_600_000_000)])
    book.close()

    parts = list(read_parts(log.folder, Wanted((START + HOUR, START + 2 * HOUR))))

    assert sorted(part.table.num_rows for part in parts) == [0, 0, 1]
    assert all(part.table.schema.names == SCHEMA.names for part in parts)


def test_a_row_that_does_not_fit_is_dropped_and_counted(book):
    log = book.predictions("basket", "1", SCHEMA)

    reason = log.append([row_of(SCHEMA, 0), row_of(SCHEMA, 1, orders__count="many")])

    assert reason == "schema"
    assert (log.counts.accepted, log.counts.written, log.counts.dropped) == (2, 0, {"schema": 2})


def test_a_damaged_segment_is_named(tmp_path, book):
    log = book.predictions("basket", "1", SCHEMA)
    log.folder.joinpath("segment-x.parquet").write_bytes(b"PAR1")

    with pytest.raises(LogError, match=r"segment-x\.parquet cannot be read"):
        ids(tmp_path)


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path):
    (tmp_path / "basket").write_text("in the way")

    with pytest.raises(LogError, match="basket/1 cannot be written"):
        LogBook(tmp_path).predictions("basket", "1", SCHEMA)
