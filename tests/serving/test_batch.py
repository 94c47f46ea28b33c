"""Scoring files: every row once and in order, a batch at a time, and the target whole or not there."""

import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.contract.read_plan import Status
from knownat.contract.release import read_release
from knownat.errors import ConfigError, ReleaseError, RowsNotConserved
from serving.batch import score_file
from tests.serving.made_workspace import CUSTOMERS, MODEL, NOW, PLAN, expected, make_workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("made"))


@pytest.fixture(autouse=True)
def no_trial(monkeypatch):
    """Loading in another process first is another module's promise, and takes seconds."""
    monkeypatch.setattr("serving.batch.trial_load", lambda path, digest: None)


class History:
    """What was known of every customer, and how many rows it was asked for at once."""

    def __init__(self, made):
        self.values = made.values
        self.asked: list[int] = []

    def __call__(self, examples, plan):
        assert plan == PLAN
        self.asked.append(len(examples))
        keys = examples["customer"].to_pylist()
        there = [key is not None and key < CUSTOMERS for key in keys]
        for i, name in enumerate(plan.output_columns):
            found = [
                float(self.values[key, i]) if here else None for key, here in zip(keys, there, strict=True)
            ]
            examples = examples.append_column(name, pa.array(found, pa.float64()))
        for view in plan.views:
            status = [str(Status.PRESENT if here else Status.NOT_FOUND) for here in there]
            examples = examples.append_column(f"{view.name}__status", pa.array(status))
        return examples


def questions(customers, note=0):
    times = pa.array([NOW] * len(customers), pa.timestamp("us", tz="UTC"))
    keys = pa.array(customers, pa.int64())
    return pa.table(
        {"customer": keys, "event_timestamp": times, "note": pa.array([note] * len(customers), pa.int64())}
    )


def score(made, source, target, history=None, **given):
    return score_file(
        made.workspace, MODEL, source, target, version=None, history=history or History(made), **given
    )


def written(path, *tables):
    for number, table in enumerate(tables):
        path.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path / f"{number}.parquet", row_group_size=7)
    return path


def test_the_rows_of_a_file_come_out_in_order_with_the_scores_of_the_release(made, tmp_path):
    customers = [*range(40, 0, -1), 5, 5]
    source = written(tmp_path / "in", questions(customers)) / "0.parquet"

    done = score(made, source, tmp_path / "out.parquet", batch_rows=16)

    out = pq.read_table(tmp_path / "out.parquet")
    release = read_release(made.workspace.releases / MODEL / "1")
    assert (done.version, done.rows) == ("1", 42)
    assert out["customer"].to_pylist() == customers
    assert out["score"].to_pylist() == pytest.approx(expected(made, release, customers), abs=1e-12)
    assert out["degraded"].to_pylist() == [False] * 42
    assert len(set(out["prediction_id"].to_pylist())) == 42
    assert out.column_names[:3] == ["customer", "event_timestamp", "note"]


def test_the_size_of_a_batch_changes_no_score(made, tmp_path):
    source = written(tmp_path / "in", questions([*range(50), None, 5_000]))
    found = []
    for rows in (1, 7, 1_000):
        score(made, source, tmp_path / f"{rows}.parquet", batch_rows=rows)
        found.append(pq.read_table(tmp_path / f"{rows}.parquet").drop(["prediction_id"]))

    assert found[0].equals(found[1])
    assert found[1].equals(found[2])
    assert found[0]["degraded"].to_pylist()[-3:] == [False, True, True]


class Watching(History):
    """Also sees, each time it is asked, what is left of the batches before."""

    def __init__(self, made):
        super().__init__(made)
        self.given: list[weakref.ref] = []
        self.allocated: list[int] = []

    def __call__(self, examples, plan):
        assert [given() for given in self.given] == [None] * len(self.given)
        self.allocated.append(pa.total_allocated_bytes())
        frame = super().__call__(examples, plan)
        self.given.append(weakref.ref(frame))
        return frame


def test_nothing_of_a_batch_is_kept_when_the_next_is_asked_for(made, tmp_path):
    source = written(tmp_path / "in", questions([i % CUSTOMERS for i in range(12_000)])) / "0.parquet"
    history = Watching(made)

    score(made, source, tmp_path / "out.parquet", history, batch_rows=200)

    assert history.asked == [200] * 60
    # What is allocated by the last batches is what was by the second.
    assert max(history.allocated[30:]) <= 1.5 * max(history.allocated[1:5]) + 65_536


def test_a_folder_is_read_in_the_order_of_its_paths_and_joined_in_whole_batches(made, tmp_path):
    source = written(tmp_path / "in", questions([1, 2, 3], 0), questions([4], 1), questions([], 2))
    narrow = questions(range(5, 20), 3)
    narrow = narrow.set_column(0, "customer", narrow["customer"].cast(pa.int16()))
    written(source / "more", narrow)
    pq.write_table(questions([99]), source / "_not_whole.parquet")
    pq.write_table(questions([99]), source / ".hidden.parquet")
    history = History(made)

    score(made, source, tmp_path / "out.parquet", history, batch_rows=6)

    assert pq.read_table(tmp_path / "out.parquet")["customer"].to_pylist() == [*range(1, 20)]
    assert history.asked == [6, 6, 6, 1]


def test_progress_says_how_many_of_how_many(made, tmp_path):
    source = written(tmp_path / "in", questions(range(10)))
    said: list[tuple[int, int]] = []

    score(made, source, tmp_path / "out", batch_rows=4, progress=lambda done, rows: said.append((done, rows)))

    assert said == [(4, 10), (8, 10), (10, 10)]


def test_a_score_is_the_same_on_both_sides_of_a_cut(made, tmp_path, monkeypatch):
    source = written(tmp_path / "in", questions(range(30)))
    score(made, source, tmp_path / "whole.parquet")
    monkeypatch.setattr("serving.batch._SCORED_AT_ONCE", 7)
    score(made, source, tmp_path / "cut.parquet")

    whole, cut = (
        pq.read_table(tmp_path / f"{name}.parquet")["score"].to_numpy() for name in ("whole", "cut")
    )
    assert np.array_equal(whole, cut)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (
            questions([1]).drop(["note"]),
            r"1\.parquet has other columns .*: \['note'\] differ",
        ),
        (questions([1]).select(["note", "customer", "event_timestamp"]), "their order differs"),
        (questions([1]).drop(["customer"]), r"1\.parquet lacks the columns \['customer'\]"),
    ],
)
def test_files_that_do_not_go_together_are_named_before_any_row_is_scored(made, tmp_path, second, says):
    source = written(tmp_path / "in", questions([1]), second)
    history = History(made)

    with pytest.raises(ConfigError, match=says):
        score(made, source, tmp_path / "out.parquet", history)
    assert history.asked == []


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("in", "in/out.parquet", "is part of what is scored"),
        ("in/0.parquet", "in/0.parquet", "is part of what is scored"),
        ("in", "nowhere/out.parquet", "its folder is not there"),
        ("in", ".", "is a folder"),
        ("empty", "out.parquet", r"holds no file \*\.parquet"),
        ("no.parquet", "out.parquet", "cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_scored_or_written_is_named(made, tmp_path, source, target, says):
    written(tmp_path / "in", questions([1]))
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigError, match=says):
        score(made, tmp_path / source, tmp_path / target)


def test_what_fails_midway_leaves_the_old_target_as_it_was(made, tmp_path):
    source = written(tmp_path / "in", questions(range(10)))
    target = tmp_path / "out.parquet"
    score(made, source, target)
    before = target.read_bytes()

    def failing(examples, plan):
        if failing.calls:
            raise RuntimeError("the store went away")
        failing.calls += 1
        return History(made)(examples, plan)

    failing.calls = 0
    with pytest.raises(RuntimeError, match="went away"):
        score(made, source, target, failing, batch_rows=4)
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.parquet"]


def test_a_join_that_loses_a_row_is_refused(made, tmp_path):
    source = written(tmp_path / "in", questions(range(10)))

    with pytest.raises(RowsNotConserved, match="10 rows went into the join, 9 came out"):
        score(made, source, tmp_path / "out.parquet", lambda rows, plan: History(made)(rows, plan).slice(1))


def test_a_version_that_is_not_there_is_named(made, tmp_path):
    source = written(tmp_path / "in", questions([1]))

    with pytest.raises(ReleaseError):
        score_file(made.workspace, MODEL, source, tmp_path / "out", version="nowhere", history=History(made))
