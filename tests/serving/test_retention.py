"""Taking old rows out of the log: just those, told beforehand, recorded, and whatever happens never half."""

import errno
import json
import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.clock import FileClock, to_us
from knownat.contract.log_reader import read_labels, read_predictions
from knownat.contract.prediction_log import LABEL_SCHEMA, Role, prediction_schema
from knownat.contract.read_plan import ReadPlan
from knownat.contract.report_files import TRAINING_VALUES
from knownat.contract.workspace import Workspace
from knownat.errors import LogError
from serving import retention
from serving.prediction_log import LogBook, RowLog
from serving.retention import AUDIT, apply_retention, as_told, plan_retention
from serving.sealing import seal_orphans
from tests.scoring.small_release import make_spec, publish_small

PLAN = ReadPlan(project="shop", feature_service="basket", views=(), output_columns=())
SCHEMA = prediction_schema(PLAN)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
ALWAYS = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}


def day(number):
    return NOW - timedelta(days=number)


def row(model, name, when):
    us = to_us(when)
    return (f"{model}.{name}.0", "r", us, us, model, "1", Role.CHAMPION.value, False, 0.5, 1)


class Logs:
    """A workspace's log, written row by row as a scorer does."""

    def __init__(self, folder):
        self.workspace = Workspace.at(folder / "repo")
        self.root = self.workspace.predictions
        self.writers = 0

    def journal(self, model, ages):
        self.writers += 1
        log = RowLog(self.root / model / "1", SCHEMA, writer=f"{self.writers:016x}", max_bytes=1 << 20)
        assert log.append([row(model, f"p{age}", day(age)) for age in ages]) is None
        return log

    def segment(self, model, ages):
        self.journal(model, ages).rotate()
        seal_orphans(self.root / model / "1")

    def labels(self, *posted):
        self.writers += 1
        log = RowLog(self.root / "labels", LABEL_SCHEMA, writer=f"{self.writers:016x}", max_bytes=1 << 20)
        log.append([(f"{model}.p{age}.0", 1.0, to_us(day(age)), to_us(day(age))) for model, age in posted])
        log.rotate()
        seal_orphans(self.root / "labels")

    def plan(self, before, model=None):
        return plan_retention(self.workspace, model, before=day(before), now=NOW)

    def prune(self, before, model=None):
        plan = self.plan(before, model)
        apply_retention(self.workspace, plan, now=NOW, reason="asked to")
        return plan

    def held(self, model):
        found = read_predictions(self.root, model, **ALWAYS)["prediction_id"].to_pylist()
        return sorted(int(i.split(".")[1][1:]) for i in found)


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path)


def test_only_older_rows_go_and_a_segment_of_both_is_written_anew(logs):
    logs.segment("basket", [400, 399])
    logs.segment("basket", [370, 364])
    logs.segment("basket", [5])
    untouched = {path: path.read_bytes() for path in (logs.root / "basket" / "1").glob("segment-*")}

    plan = logs.prune(365)

    assert logs.held("basket") == [5, 364]
    assert plan.prediction_rows == 3
    left = {path: path.read_bytes() for path in (logs.root / "basket" / "1").iterdir()}
    assert len(left) == 2
    assert sum(untouched.get(path) == content for path, content in left.items()) == 1


def test_a_row_of_the_very_moment_stays(logs):
    logs.segment("basket", [365])

    assert logs.prune(365).prediction_rows == 0
    assert logs.held("basket") == [365]


def test_planning_changes_nothing(logs):
    logs.segment("basket", [400, 5])
    before = {path: path.read_bytes() for path in logs.root.rglob("*") if path.is_file()}

    plan = logs.plan(365)

    assert plan.prediction_rows == 1
    assert {path: path.read_bytes() for path in logs.root.rglob("*") if path.is_file()} == before


def test_rows_that_are_not_sealed_stay_and_are_counted(logs):
    log = logs.journal("basket", [400, 390, 5])

    plan = logs.prune(365)

    assert (plan.prediction_rows, plan.kept_rows) == (0, 2)
    assert logs.held("basket") == [5, 390, 400]
    log.rotate()
    seal_orphans(log.folder)
    assert logs.prune(365).prediction_rows == 2
    assert logs.held("basket") == [5]


def test_a_segment_whose_journal_is_still_there_is_left_until_sealing_is_over(logs):
    log = logs.journal("basket", [400])
    log.rotate()
    (journal,) = log.finished
    content = journal.read_bytes()
    seal_orphans(log.folder)
    journal.write_bytes(content)  # as after a kill between the segment's rename and the journal's end

    assert logs.prune(365).prediction_rows == 0
    seal_orphans(log.folder)
    assert logs.prune(365).prediction_rows == 1
    assert logs.held("basket") == []


def test_what_a_crash_tore_off_goes_with_its_rows(logs):
    for ages in ([400], [5]):
        log = logs.journal("basket", ages)
        log.rotate()
        (journal,) = log.finished
        with journal.open("ab") as file:
            file.write(b"\x40\0\0\0half a row")
    seal_orphans(logs.root / "basket" / "1")
    assert len(list((logs.root / "basket" / "1").glob("torn-*"))) == 2

    logs.prune(365)

    assert len(list((logs.root / "basket" / "1").glob("torn-*"))) == 1
    assert logs.held("basket") == [5]


def test_open_and_torn_labels_are_told_and_those_of_all_models_go_with_all(logs):
    logs.segment("basket", [400])
    folder, posted = logs.root / "labels", (("basket.p1.0", 1.0, to_us(day(400)), to_us(day(400))),)
    torn = RowLog(folder, LABEL_SCHEMA, writer="f" * 16, max_bytes=1 << 20)
    torn.append(posted)
    torn.rotate()
    with torn.finished[0].open("ab") as file:
        file.write(b"\x40\0\0\0half a row")
    seal_orphans(folder)
    still_open = RowLog(folder, LABEL_SCHEMA, writer="e" * 16, max_bytes=1 << 20)
    still_open.append(posted)

    assert (logs.prune(365, "basket").kept_rows, len(list(folder.glob("torn-*")))) == (1, 1)
    assert (logs.prune(365).kept_rows, len(list(folder.glob("torn-*")))) == (1, 0)


def test_labels_go_by_when_they_were_posted_and_one_models_alone(logs):
    logs.segment("basket", [400, 5])
    logs.segment("churn", [400])
    logs.labels(("basket", 400), ("basket", 3), ("churn", 399))

    plan = logs.prune(365, "basket")

    assert (plan.prediction_rows, plan.label_rows) == (1, 1)
    assert read_labels(logs.root)["prediction_id"].to_pylist() == ["basket.p3.0", "churn.p399.0"]
    assert logs.held("churn") == [400]
    logs.prune(365)
    assert read_labels(logs.root)["prediction_id"].to_pylist() == ["basket.p3.0"]
    assert logs.held("churn") == []


def test_rows_whose_labels_may_still_come_are_told(logs):
    logs.segment("basket", [10, 1])

    assert logs.plan(2).unlabelled == {}
    assert logs.plan(0).unlabelled == {"basket": 1}


def test_a_label_is_waited_for_as_long_as_a_release_says(logs):
    logs.segment("late_parcel", [10, 5])
    publish_small(logs.workspace.releases, spec=make_spec(monitoring={"label_wait_hours": 24 * 7}))

    assert logs.plan(2).unlabelled == {"late_parcel": 1}
    assert logs.plan(8).unlabelled == {}


def test_a_journal_that_is_sealed_while_a_plan_is_made_is_left_to_the_next_run(logs, monkeypatch):
    log = logs.journal("basket", [400, 5])
    log.rotate()
    read_journal = retention.read_journal

    def sealed_meanwhile(path):
        seal_orphans(log.folder)
        return read_journal(path)

    monkeypatch.setattr(retention, "read_journal", sealed_meanwhile)

    assert logs.plan(365).kept_rows == 0
    assert logs.plan(365).prediction_rows == 1


def test_what_went_is_on_record(logs):
    logs.segment("basket", [400, 5])
    logs.prune(365)

    lines = [json.loads(line) for line in (logs.root / AUDIT).read_text().splitlines()]
    assert [line["step"] for line in lines] == ["begun", "done"]
    assert lines[1] == {
        "step": "done",
        "at": NOW.isoformat(),
        "before": day(365).isoformat(),
        "model": None,
        "predictions": 1,
        "labels": 0,
        "values_beside_reports": 0,
        "torn_files": 0,
        "kept_unsealed": 0,
        "unlabelled": {},
        "reason": "asked to",
    }


def beside_report(logs, model, ages):
    """What training would have seen of these predictions, kept as monitoring keeps it."""
    folder = logs.workspace.reports / model / f"window{ages[0]}"
    folder.mkdir(parents=True)
    table = pa.table(
        {
            "prediction_id": [f"{model}.p{age}.0" for age in ages],
            "event_timestamp": pa.array([day(age) for age in ages], pa.timestamp("us", tz="UTC")),
            "orders__value": [float(age) for age in ages],
        }
    )
    pq.write_table(table, folder / TRAINING_VALUES)
    return folder / TRAINING_VALUES


def test_values_beside_a_report_go_with_the_rows_they_are_of(logs):
    logs.segment("basket", [400, 366, 364])
    logs.segment("churn", [400])
    old, both = beside_report(logs, "basket", [400]), beside_report(logs, "basket", [366, 364])
    others = beside_report(logs, "churn", [400])

    told = as_told(logs.plan(365, "basket"))
    logs.prune(365, "basket")

    assert told["values_beside_reports"] == 2
    assert {str(old), str(both)} <= {part["path"] for part in told["files"]}
    assert not old.exists()
    assert pq.read_table(both)["orders__value"].to_pylist() == [364.0]
    assert others.exists()
    assert logs.plan(365, "basket").takes is False


def test_values_are_taken_though_their_rows_went_before(run_knownat, logs):
    logs.segment("basket", [5])
    kept = beside_report(logs, "basket", [400])

    done = command(run_knownat, logs, "prune", "--days", "365")

    assert "1 rows of values beside reports of skew go with them." in done.stdout
    assert not kept.exists()


def test_an_unknown_model_and_a_damaged_segment_are_named(logs):
    logs.segment("basket", [400])
    logs.labels(("basket", 3))
    with pytest.raises(LogError, match=r"no log of 'churn'; there are \['basket'\]"):
        logs.plan(365, "churn")
    (segment,) = (logs.root / "basket" / "1").glob("segment-*")
    segment.write_bytes(b"PAR1")
    with pytest.raises(LogError, match="cannot be read"):
        logs.plan(365)


def test_rewriting_keeps_every_column_and_the_count_of_torn_bytes(logs):
    logs.segment("basket", [400, 5])
    (segment,) = (logs.root / "basket" / "1").glob("segment-*")
    before = pq.read_table(segment)

    logs.prune(365)

    after = pq.read_table(segment)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.equals(before.filter(pa.array([False, True])))


def test_a_disk_that_takes_no_segment_leaves_the_one_that_is_there_and_nothing_else(logs, monkeypatch):
    logs.segment("basket", [400, 5])
    before = {path: path.read_bytes() for path in (logs.root / "basket" / "1").iterdir()}

    def full(table, file, **given):
        file.write(b"PAR1")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(retention.pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        logs.prune(365)
    monkeypatch.undo()

    assert {path: path.read_bytes() for path in (logs.root / "basket" / "1").iterdir()} == before
    logs.prune(365)
    assert logs.held("basket") == [5]
    steps = [json.loads(line)["step"] for line in (logs.root / AUDIT).read_text().splitlines()]
    assert steps == ["begun", "begun", "done"]


def test_a_journal_that_is_open_for_long_is_finished_so_that_it_can_be_sealed(tmp_path):
    book = LogBook(tmp_path, max_seconds=0.0, sync_seconds=0.01)
    log = book.predictions("basket", "1", SCHEMA)
    log.append([row("basket", "p1", NOW)])
    book.start()
    while not list((tmp_path / "basket" / "1").glob("segment-*")):
        pass
    log.append([row("basket", "p2", NOW)])
    book.close()

    assert len(read_predictions(tmp_path, "basket", **ALWAYS)) == 2


def command(run_knownat, logs, *words):
    clock = logs.workspace.home / "clock"
    FileClock(clock).move_to(to_us(NOW))
    timed = ["--clock", f"file:{clock}"] if words[0] == "prune" else []
    return run_knownat("log", *words, "--repo", str(logs.workspace.repo), *timed)


def test_the_command_says_what_goes_and_speaks_up_for_what_must_stay(run_knownat, logs):
    logs.segment("basket", [400, 10, 1])
    abandoned = logs.journal("basket", [390])
    abandoned.rotate()

    dry = command(run_knownat, logs, "prune", "--days", "365", "--dry-run")
    assert (dry.returncode, logs.held("basket")) == (0, [1, 10, 390, 400])
    assert "1 predictions and 0 labels from before 2023-06-02 00:00Z would go." in dry.stdout
    assert "1 more are in 1 journals that are not sealed" in dry.stdout
    # A writer that is gone is no reason to keep its rows.
    done = command(run_knownat, logs, "prune", "--days", "365", "--json")
    assert (done.returncode, json.loads(done.stdout)["predictions"], logs.held("basket")) == (0, 2, [1, 10])
    held = command(run_knownat, logs, "prune", "--before", NOW.isoformat())
    assert (held.returncode, logs.held("basket")) == (1, [1, 10])
    assert "1 of 'basket' may still get a label. Use --force, or an earlier moment." in held.stdout
    forced = command(run_knownat, logs, "prune", "--before", NOW.isoformat(), "--force", "--reason", "law")
    assert (forced.returncode, logs.held("basket")) == (0, [])
    neither = command(run_knownat, logs, "prune")
    assert (neither.returncode, "give either --days or --before" in neither.stderr) == (2, True)


def test_the_books_are_shown(run_knownat, logs):
    logs.segment("basket", [400, 5])
    logs.journal("basket", [1])
    logs.labels(("basket", 3))

    shown = json.loads(command(run_knownat, logs, "show", "--json").stdout)

    assert [(book["log"], book["rows"], book["unsealed"]) for book in shown] == [
        ("basket/1", 3, 1),
        ("labels", 1, 0),
    ]
    assert (shown[0]["first"], shown[0]["last"]) == (day(400).isoformat(), day(1).isoformat())
    assert "basket/1: 3 rows (1 in open journals)" in command(run_knownat, logs, "show").stdout
