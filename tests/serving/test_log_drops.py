"""Rows that a log cannot take: dropped alone, counted by reason, and told; what follows them is kept."""

import errno
import os

import pytest

from knownat.contract.log_reader import read_parts
from serving.prediction_log import RowLog
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

    assert [record.getMessage() for record in caplog.records] == [
        f"{log.folder}: rows are dropped: ENOSPC"
    ]
    assert log.counts.dropped == {"ENOSPC": 3}


def test_a_disk_that_is_full_at_the_start_stops_no_scorer(log, monkeypatch):
    monkeypatch.setattr(os, "write", full)
    log.open()
    problem = log.problem
    monkeypatch.undo()

    assert problem == "ENOSPC"
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
