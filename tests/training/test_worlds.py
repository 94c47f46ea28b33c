"""Two worlds and the questions asked in both; the instants at which one is made of the other."""

from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.contract.workspace import Workspace
from knownat.stores.pipeline_spec import Feature, read_pipelines
from knownat.stores.pipelines import build_features
from tests.training.histories import VISITS, write_history
from tests.training.made import CUTOFF, MOMENT, START, make_spec
from training.future import choose_instants
from training.shadow import shadow_of
from training.worlds import Rewriting, match_questions

AT = datetime(2024, 1, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPEC = make_spec()


def asked(*rows):
    """Questions of parcel, hours after the instant, answer."""
    parcels, hours, labels = zip(*rows, strict=True)
    return pa.table(
        {
            "parcel_id": pa.array(parcels, pa.int64()),
            "event_timestamp": pa.array([AT + HOUR * h for h in hours], MOMENT),
            "label": pa.array(labels, pa.float64()),
        }
    )


def test_questions_asked_by_the_instant_are_paired_by_key_and_time_in_order_of_time():
    before = asked((1, -3, 1.0), (2, 0, 2.0), (3, 1, 3.0), (None, -9, 4.0), (5, -1, 5.0))
    after = asked((None, -9, 40.0), (6, -2, 60.0), (2, 0, 20.0), (1, -3, 10.0), (1, -2, 11.0), (3, 1, 30.0))
    found = match_questions(before, after, SPEC, at=AT, most=10)
    assert found.before["label"].to_pylist() == [4.0, 1.0, 2.0]
    assert found.after["label"].to_pylist() == [40.0, 10.0, 20.0]
    # One that is gone, and two that were never asked.
    assert found.only_in_one == 3


@pytest.mark.parametrize("count", [10, 11, 40])
def test_of_very_many_questions_half_are_the_last_ones(count):
    many = asked(*((n, n - count, float(n)) for n in range(count)))
    found = match_questions(many, many, SPEC, at=AT, most=10).before["parcel_id"].to_pylist()
    assert len(found) == len(set(found)) == 10
    assert found == sorted(found)
    assert found[5:] == list(range(count - 5, count))
    assert match_questions(many, many, SPEC, at=AT, most=10).before["parcel_id"].to_pylist() == found


def test_keys_of_tables_and_of_questions_stay_where_they_are(tmp_path):
    workspace = Workspace.at(tmp_path / "feature_repo")
    workspace.models.mkdir(parents=True)
    (workspace.models / "late_parcel.sql").write_text(
        "SELECT parcel_id, known_at AS event_timestamp, 1.0::DOUBLE AS label, known_at AS label_timestamp "
        "FROM events"
    )
    feature = Feature(name="depots", sql="depots.sql", keys=("depot",))
    pipelines = read_pipelines(VISITS).model_copy(update={"feature": (feature,)})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "CREATE TABLE events AS SELECT TIMESTAMPTZ '2024-01-10 00:00:00Z' + to_hours(i) AS known_at, "
            "i AS parcel_id, 'depot ' || i AS depot, i AS weight FROM range(200) AS t (i)"
        )
        rewriting = Rewriting(workspace, SPEC, pipelines, at=AT, seed=1)
        rewriting(connection, ["events"])
        left = connection.execute("SELECT known_at, parcel_id, depot, weight FROM events").fetchall()
    (told,) = rewriting.events
    assert all(at == AT + HOUR * parcel and depot == f"depot {parcel}" for at, parcel, depot, _ in left)
    assert sum(weight != parcel for _, parcel, _, weight in left) > 100
    assert (told.unknown, rewriting.examples.num_rows) == (199, 200 - told.removed)


def test_instants_are_the_cutoff_and_earlier_times_at_which_much_was_open():
    hours = np.arange(0, 80 * 24, 8)
    begun = [START + HOUR * int(h) for h in hours]
    # For six days an answer takes two; more is open where nobody ever answers, and after the cutoff, but
    # neither is looked at.
    day = hours // 24
    never, late = (day >= 40) & (day < 46), day >= 62
    waits = np.select([(day >= 20) & (day < 26), never, late], [48, 500, 500], default=1)
    open_ = [when + HOUR * int(wait) for when, wait in zip(begun, waits, strict=True)]
    answers = [None if none else 1.0 for none in never]
    questions = pa.table(
        {
            "event_timestamp": pa.array(begun, MOMENT),
            "label_timestamp": pa.array(open_, MOMENT),
            "label": pa.array(answers, pa.float64()),
        }
    )
    instants = choose_instants(questions, make_spec(leaks={"instants": 4}))
    assert (len(instants), instants[0]) == (4, CUTOFF)
    assert all(START + timedelta(days=20) < at < START + timedelta(days=28) for at in instants[1:])
    assert choose_instants(questions, make_spec(leaks={"instants": 1})) == [CUTOFF]


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    workspace = write_history(tmp_path_factory.mktemp("history"), seed=3)
    build_features(workspace.repo)
    (workspace.data / "registry.db").write_bytes(b"registered")
    pq.write_table(pa.table({"n": [1]}), workspace.data / "added.parquet")
    (workspace.data / "pieces").mkdir()
    (workspace.data / "notes.txt").write_text("no table")
    return workspace


def test_a_shadow_has_its_own_tables_and_the_real_ones_that_no_pipeline_makes(visits, tmp_path):
    seen = []

    def rewrite(connection: duckdb.DuckDBPyConnection, events):
        seen.extend(events)
        for event in events:
            connection.execute(f"DELETE FROM \"{event}\" WHERE known_at > TIMESTAMPTZ '2024-01-20 00:00:00Z'")

    with shadow_of(visits, rewrite, scratch=tmp_path) as shadow:
        links = sorted(path.name for path in shadow.data.iterdir() if path.is_symlink())
        real, made = (pq.read_table(each.data / "honest.parquet") for each in (visits, shadow))
        assert (shadow.data / "registry.db").read_bytes() == b"registered"
        assert not (shadow.data / "registry.db").is_symlink()
        assert (shadow.repo / "feature_store.yaml").is_file()
        assert not (shadow.data / "notes.txt").exists()
    assert links == ["added.parquet", "pieces"]
    assert sorted(seen) == ["outcomes", "visits"]
    assert 0 < made.num_rows < real.num_rows
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["sqlite:///{}/elsewhere.db", "postgresql://host/registry", "data/none.db"])
def test_a_registry_that_lies_elsewhere_is_not_copied(visits, tmp_path, path):
    settings = visits.repo / "feature_store.yaml"
    kept = settings.read_text()
    (tmp_path / "elsewhere.db").write_bytes(b"theirs")
    settings.write_text(kept.replace("sqlite:///data/registry.db", path.format(tmp_path)))
    try:
        with shadow_of(visits, lambda connection, events: None, scratch=tmp_path / "scratch") as shadow:
            assert [each.name for each in shadow.repo.rglob("*.db")] == []
    finally:
        settings.write_text(kept)
