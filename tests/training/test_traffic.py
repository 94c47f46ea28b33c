"""Recent questions asked again in two worlds: which ones, and what differs."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from knownat.contract.prediction_log import LABEL_SCHEMA, prediction_schema
from knownat.contract.workspace import Workspace
from knownat.errors import RepoError
from knownat.scoring.scorer import Scorer
from tests.scoring.small_release import PLAN, golden_table, make_spec, publish_small
from tests.training.made import MOMENT
from training.traffic import Recent, measure_effect, recent_questions

UNTIL = datetime(2024, 3, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
RECENT = Recent(UNTIL, 7, 5_000)
ROWS = 60


def held_out():
    asked = [UNTIL - timedelta(days=30) + HOUR * row for row in range(ROWS)]
    table = pa.table(
        {
            "depot_id": pa.array(range(ROWS), pa.int64()),
            "event_timestamp": pa.array(asked, MOMENT),
            "weight_kg": [float(row % 13) for row in range(ROWS)],
            "label": [float(row % 2) for row in range(ROWS)],
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    return publish_small(folder, files={"holdout.parquet": held_out()})


@pytest.fixture
def workspace(tmp_path):
    return Workspace.at(tmp_path / "feature_repo")


def log(workspace, times, *, labelled=0, version="1"):
    """Log a question at each time; the first so many are labelled, yes and no in turn."""
    rows = [
        {
            "prediction_id": f"late_parcel.{number:04d}",
            "request_id": "r",
            "logged_at": at,
            "event_timestamp": at,
            "model": "late_parcel",
            "version": version,
            "role": "champion",
            "key__depot_id": 100 + number,
            "input__weight_kg": float(number % 13),
            "served__depot__status": "present",
            "degraded": False,
            "score": 0.5,
            "latency_us": 1,
        }
        for number, at in enumerate(times)
    ]
    labels = [
        {
            "prediction_id": row["prediction_id"],
            "label": float(n % 2),
            "label_timestamp": UNTIL,
            "logged_at": UNTIL,
        }
        for n, row in enumerate(rows[:labelled])
    ]
    for folder, table in (
        (
            workspace.predictions / "late_parcel" / version,
            pa.Table.from_pylist(rows, prediction_schema(PLAN)),
        ),
        (workspace.predictions / "labels", pa.Table.from_pylist(labels, LABEL_SCHEMA)),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / "segment-a.parquet")


def hours(count):
    return [UNTIL - HOUR * (count - number) for number in range(count)]


def features(questions, service):
    """Join as a repo would: the same features for every row of a number."""
    assert service == "late_parcel"
    table = golden_table(len(questions))
    kept = [name for name in table.column_names if name != "weight_kg"]
    for name in kept:
        questions = questions.append_column(name, table[name])
    return questions


def changed(name, change, rows=slice(None)):
    def join(questions, service):
        frame = features(questions, service)
        values = frame[name].to_pylist()
        values[rows] = [change(value) for value in values[rows]]
        return frame.set_column(frame.column_names.index(name), name, pa.array(values, frame[name].type))

    return join


def ask(workspace, release, after, *, before=features, recent=RECENT):
    return measure_effect(workspace, release, recent, before=before, after=after)


def test_the_last_days_logged_questions_are_asked_with_their_labels(workspace, released):
    log(workspace, [UNTIL - timedelta(days=7) - HOUR, *hours(40), UNTIL], labelled=30)
    asked, source = recent_questions(workspace, released, RECENT)
    assert source == "logged, 2024-03-18 08:00 to 2024-03-19 23:00"
    assert asked.column_names == ["depot_id", "weight_kg", "event_timestamp", "label"]
    assert asked["depot_id"].to_pylist() == list(range(101, 141))
    assert asked["label"].to_pylist() == [float(n % 2) for n in range(1, 30)] + [None] * 11


def test_of_very_many_questions_some_are_asked_evenly_over_time(workspace, released):
    log(workspace, hours(40))
    asked, _ = recent_questions(workspace, released, Recent(UNTIL, 7, 4))
    assert asked["depot_id"].to_pylist() == [100, 113, 126, 139]


def test_where_none_was_logged_the_hold_out_is_asked(workspace, released):
    log(workspace, hours(40), version="2")
    asked, source = recent_questions(workspace, released, RECENT)
    assert source == "its hold-out, as none was logged in the 7 days before 2024-03-20 00:00"
    assert asked["depot_id"].to_pylist() == list(range(ROWS))
    few, _ = recent_questions(workspace, released, Recent(UNTIL, 7, 3))
    assert few["depot_id"].to_pylist() == [0, 29, 59]


def test_a_log_that_hides_its_keys_cannot_be_asked_again(workspace, tmp_path):
    spec = make_spec(serving={"pseudonymous_keys": ["depot_id"]})
    hiding = publish_small(tmp_path / "hiding", files={"holdout.parquet": held_out()}, spec=spec)
    log(workspace, hours(40))
    asked, source = recent_questions(workspace, hiding, RECENT)
    assert source == "its hold-out, as the log hides depot_id"
    assert asked["depot_id"].to_pylist() == list(range(ROWS))


def test_where_nothing_changes_nothing_differs(workspace, released):
    log(workspace, hours(40), labelled=40)
    found = ask(workspace, released, features)
    assert (found.questions, found.columns_changed, found.scores_changed) == (40, {}, 0)
    assert (found.mean_change, found.largest_change, found.problem, found.fails) == (0.0, 0.0, "", False)
    assert (found.metric.metric, found.metric.labelled) == ("auc", 40)
    assert (found.metric.gain, found.metric.low, found.metric.high) == (0.0, 0.0, 0.0)


def test_what_differs_is_counted_and_scored(workspace, released):
    log(workspace, hours(40))
    half = changed("depot__delay_mean_min_1d", lambda value: 1_000.0, slice(0, 20))
    found = ask(workspace, released, half)
    assert found.columns_changed == {"depot__delay_mean_min_1d": 20}
    scorer = Scorer.load(released)
    questions, _ = recent_questions(workspace, released, RECENT)
    was, now = (scorer.score(join(questions, "late_parcel")) for join in (features, half))
    assert found.scores_changed == np.sum(was != now) > 0
    assert found.largest_change == np.abs(was - now).max()
    assert found.mean_change == pytest.approx(np.abs(was - now).mean())


def test_a_column_of_another_type_differs_in_every_row(workspace, released):
    log(workspace, hours(40))

    def as_float(questions, service):
        frame = features(questions, service)
        name = "depot__parcels_count_1d"
        return frame.set_column(frame.column_names.index(name), name, pc.cast(frame[name], pa.float64()))

    found = ask(workspace, released, as_float)
    assert (found.problem, found.columns_changed) == ("", {"depot__parcels_count_1d": 40})
    assert found.scores_changed == 0


@pytest.mark.parametrize(("labelled", "measured"), [(19, False), (20, True)])
def test_twenty_labels_are_the_fewest_that_a_metric_is_told_of(workspace, released, labelled, measured):
    log(workspace, hours(40), labelled=labelled)
    assert (ask(workspace, released, features).metric is not None) is measured


def test_a_metric_that_is_not_defined_is_not_told(workspace, released):
    log(workspace, hours(60), labelled=60)
    path = workspace.predictions / "labels" / "segment-a.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, LABEL_SCHEMA.field("label"), pa.array([1.0] * 60)), path)
    assert ask(workspace, released, features).metric is None


def test_what_cannot_be_asked_or_scored_any_more_is_told(workspace, released):
    log(workspace, hours(40))

    def gone(questions, service):
        raise RepoError("there is no feature service 'late_parcel'")

    def lacking(questions, service):
        return features(questions, service).drop_columns(["depot__region"])

    refused = ask(workspace, released, gone)
    assert (refused.fails, refused.questions) == (True, 40)
    assert refused.problem == "there is no feature service 'late_parcel'"
    assert ask(workspace, released, lacking).fails
    assert "depot__region" in ask(workspace, released, lacking).problem


def test_where_there_is_nothing_to_ask_nothing_breaks(workspace, tmp_path):
    empty = pa.BufferOutputStream()
    pq.write_table(pq.read_table(pa.BufferReader(held_out())).slice(0, 0), empty)
    content = empty.getvalue().to_pybytes()
    bare = publish_small(tmp_path / "bare", files={"holdout.parquet": content})
    found = ask(workspace, bare, features)
    assert (found.problem, found.fails) == ("there is nothing to ask again", False)
