"""Rows that a log cannot take: dropped alone, counted by reason, and told; what follows them is kept."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from knownat.contract import log_reader
from knownat.contract.log_reader import LABELS, journals_in, read_labels, read_parts, segment_of
from knownat.errors import LogError
from serving import sealing
from serving.prediction_log import LogBook, RowLog
from serving.sealing import seal_beside, seal_journal
from tests.contract.test_prediction_log import SCHEMA, row_of

MISFIT = row_of(SCHEMA, 9, orders__count="many")


@pytest.fixture
def log(tmp_path):
    return RowLog(tmp_path, SCHEMA, writer="a" * 16, max_bytes=1 << 20)


def held(log):
    return sorted(i for part in read_parts(log.folder) for i in part.table["prediction_id"].to_pylist())


def full(descriptor, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_misfit_costs_no_other_row_its_place(log, caplog):
    assert log.append_one(MISFIT) == "schema"
    log.append_apart([row_of(SCHEMA, 0), MISFIT, row_of(SCHEMA, 1)])
    log.append_apart([MISFIT])

    assert log.problem == "schema"
    assert log.append_one(row_of(SCHEMA, 2)) is None
    counts = log.counts
    assert (counts.accepted, counts.written, counts.dropped) == (6, 3, {"schema": 3})
    assert held(log) == ["basket.0000", "basket.0001", "basket.0002"]
    assert "many" not in caplog.text


def test_what_is_wrong_is_told_once_until_it_is_right_again(log, monkeypatch, caplog):
    log.append_one(row_of(SCHEMA, 0))
    monkeypatch.setattr(os, "write", full)
    for number in range(3):
        assert log.append_one(row_of(SCHEMA, number)) == "ENOSPC"
    monkeypatch.undo()

    assert [record.getMessage() for record in caplog.records] == [f"{log.folder}: rows are dropped: ENOSPC"]
    assert log.counts.dropped == {"ENOSPC": 3}


def test_a_disk_that_is_full_at_the_start_stops_no_scorer(log, monkeypatch):
    monkeypatch.setattr(os, "write", full)
    log.open()
    problem, left = log.problem, list(log.folder.iterdir())
    monkeypatch.undo()

    assert (problem, left) == ("ENOSPC", [])
    assert log.append_one(row_of(SCHEMA, 0)) is None
    assert (log.problem, held(log)) == (None, ["basket.0000"])


def test_behind_half_a_row_that_cannot_be_cut_off_another_journal_begins(log, monkeypatch):
    log.append_one(row_of(SCHEMA, 0))
    write = os.write

    def half(descriptor, content):
        monkeypatch.setattr(os, "write", full)
        return write(descriptor, content[:7])

    def fail(descriptor, size):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "write", half)
    monkeypatch.setattr(os, "ftruncate", fail)
    assert log.append_one(row_of(SCHEMA, 1)) == "ENOSPC"
    monkeypatch.undo()
    assert log.append_one(row_of(SCHEMA, 2)) is None

    assert held(log) == ["basket.0000", "basket.0002"]
    assert len(log.finished) == 1


def test_what_was_synced_is_not_synced_again(log, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    log.sync()
    log.append_one(row_of(SCHEMA, 0))
    log.sync()
    log.sync()

    assert len(synced) == 1


def test_sealing_what_another_has_sealed_changes_nothing(log):
    log.append_one(row_of(SCHEMA, 0))
    log.rotate()
    (journal,) = log.finished
    assert seal_journal(journal) is not None
    before = {path: path.read_bytes() for path in log.folder.iterdir()}

    assert seal_journal(journal) is None
    seal_beside(journal)

    assert {path: path.read_bytes() for path in log.folder.iterdir()} == before


def test_a_journal_that_another_seals_between_our_look_and_our_lock_is_left_to_it(log, monkeypatch):
    log.append_one(row_of(SCHEMA, 0))
    log.rotate()
    (journal,) = log.finished
    flock = fcntl.flock

    def after_another(descriptor, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        assert seal_journal(journal) is not None
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_another)

    assert seal_journal(journal) is None
    assert held(log) == ["basket.0000"]


def test_a_journal_that_is_sealed_between_two_looks_of_a_reader_is_read_as_its_segment(log, monkeypatch):
    log.append_one(row_of(SCHEMA, 0))
    log.rotate()
    read_journal = log_reader.read_journal

    def sealed_meanwhile(path):
        seal_journal(path)
        return read_journal(path)

    monkeypatch.setattr(log_reader, "read_journal", sealed_meanwhile)

    assert held(log) == ["basket.0000"]


def test_a_segment_that_one_listing_misses_is_seen_by_the_next(log, monkeypatch):
    log.append_one(row_of(SCHEMA, 0))
    log.rotate()
    seal_journal(log.finished[0])
    glob, missed = Path.glob, []

    def misses_once(folder, pattern):
        if pattern.startswith("segment-") and not missed:
            missed.append(pattern)
            return iter(())
        return glob(folder, pattern)

    monkeypatch.setattr(Path, "glob", misses_once)

    assert held(log) == ["basket.0000"]
    assert missed == ["segment-*.parquet"]


def test_a_segment_that_goes_while_a_reader_is_at_another_is_left_out(log):
    for number in range(2):
        log.append_one(row_of(SCHEMA, number))
        log.rotate()
    segments = [seal_journal(path) for path in log.finished]

    parts = read_parts(log.folder)
    first = next(parts)
    segments[1].unlink()

    assert [part.path for part in (first, *parts)] == [segments[0]]


def test_a_process_that_does_not_seal_in_time_is_given_up_and_the_journal_stays(log, monkeypatch):
    log.append_one(row_of(SCHEMA, 0))
    log.rotate()
    monkeypatch.setattr(sealing, "_SHORT_BYTES", 0)
    monkeypatch.setattr(sealing, "_SEAL_SECONDS", 0.001)

    with pytest.raises(LogError, match=r"was not sealed within 0\.001 s\."):
        seal_beside(log.finished[0])
    assert held(log) == ["basket.0000"]


def test_a_process_that_ends_without_a_word_is_told_by_its_status(log, monkeypatch):
    log.append_one(row_of(SCHEMA, 0))
    log.rotate()
    monkeypatch.setattr(sealing, "_SHORT_BYTES", 0)
    monkeypatch.setattr(sealing.sys, "executable", "false")

    with pytest.raises(LogError, match=r"was not sealed: ended with 1$"):
        seal_beside(log.finished[0])


def test_a_journal_that_could_not_be_sealed_is_sealed_in_the_next_round(tmp_path):
    book = LogBook(tmp_path)
    log = book.predictions("basket", "1", SCHEMA)
    log.append([row_of(SCHEMA, 0)])
    log.rotate()
    in_the_way = log.folder / f".{segment_of(log.finished[0]).name}"
    in_the_way.mkdir()

    book.close()
    left = journals_in(log.folder)
    in_the_way.rmdir()
    book.close()

    assert (len(left), journals_in(log.folder), held(log)) == (1, [], ["basket.0000"])


def test_a_journal_without_a_whole_row_is_kept_if_it_holds_bytes_and_else_goes(log):
    log.open()
    log.rotate()
    (empty,) = log.finished
    schema = empty.read_bytes()
    assert seal_journal(empty) is None
    assert list(log.folder.iterdir()) == []

    empty.write_bytes(schema + b"half a row")
    segment = seal_journal(empty)

    assert [part.torn_bytes for part in read_parts(log.folder)] == [10]
    assert {path.name for path in log.folder.iterdir()} == {segment.name, f"torn-{empty.name[8:]}"}


def test_a_segment_that_is_whole_already_is_not_written_again(log):
    log.append_one(row_of(SCHEMA, 0))
    log.rotate()
    (journal,) = log.finished
    content = journal.read_bytes()
    segment = seal_journal(journal)
    before = segment.stat().st_ino
    journal.write_bytes(content)  # as after a kill between the segment's rename and the journal's end

    assert seal_journal(journal) == segment
    assert segment.stat().st_ino == before


def test_labels_of_a_writer_that_is_gone_are_sealed_by_the_next(tmp_path):
    dead = LogBook(tmp_path)
    dead.labels.append([("basket.1", 1.0, 5, 6)])
    dead.labels.rotate()

    following = LogBook(tmp_path)
    following.start()
    following.close()

    assert journals_in(tmp_path / LABELS) == []
    assert read_labels(tmp_path)["prediction_id"].to_pylist() == ["basket.1"]


def test_the_log_of_a_version_that_serves_no_more_is_finished_and_a_late_row_opens_another(tmp_path):
    book = LogBook(tmp_path)
    gone, serving = (book.predictions("basket", version, SCHEMA) for version in "12")
    gone.append([row_of(SCHEMA, 0)])
    serving.append([row_of(SCHEMA, 1)])

    book.rest({("basket", "2")})
    gone.append([row_of(SCHEMA, 2)])

    assert (len(gone.finished), serving.finished) == (1, [])
    assert (held(gone), held(serving)) == (["basket.0000", "basket.0002"], ["basket.0001"])
