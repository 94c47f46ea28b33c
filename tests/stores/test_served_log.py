"""A model's answers and their labels as raw tables: each known when it was posted, and not before."""

import shutil
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knownat.clock import from_us, to_us
from knownat.errors import ConfigError
from knownat.stores.pipelines import build_features, query_events
from knownat.stores.served_log import ServedLogError
from tests.soak import scale
from tests.stores.served import ServedModel

START = to_us(datetime(2024, 1, 1, tzinfo=UTC))
HOUR = 3_600_000_000
TOML = """
[served.basket]
model = "basket"
columns = { key__customer_id = "BIGINT", input__channel = "VARCHAR" }

[[event]]
name = "asked"
sql = "asked.sql"
known_at = "logged_at"

[[event]]
name = "answers"
sql = "answers.sql"
known_at = "greatest(label_timestamp, logged_at)"

[[feature]]
name = "customer_answers"
sql = "customer_answers.sql"
keys = ["customer_id"]
"""
SQL = {
    "asked.sql": "SELECT *, key__customer_id AS customer_id FROM served_basket",
    "answers.sql": "SELECT * FROM served_basket_labels",
    "customer_answers.sql": """
        SELECT customer_id, label_timestamp AS event_timestamp, max(answers.known_at) AS created_timestamp,
            max(label) AS label_last
        FROM answers JOIN asked USING (prediction_id) GROUP BY ALL""",
    "newest.sql": """
        SELECT prediction_id, label FROM answers
        QUALIFY row_number()
            OVER (PARTITION BY prediction_id ORDER BY label_timestamp DESC, logged_at DESC) = 1
        ORDER BY prediction_id""",
    "all.sql": "SELECT * FROM asked ORDER BY event_timestamp",
}


@pytest.fixture
def repo(tmp_path):
    return make_repo(tmp_path)


def make_repo(folder):
    pipelines = folder / "feature_repo" / "pipelines"
    pipelines.mkdir(parents=True)
    (pipelines / "pipelines.toml").write_text(TOML)
    for name, text in SQL.items():
        (pipelines / name).write_text(text)
    return folder / "feature_repo"


def served(repo, **given):
    return ServedModel(repo.parent / "predictions", "basket", **given)


def ask(repo, file, **given):
    return query_events(repo, repo / "pipelines" / file, **given).to_pylist()


def question(hour, customer=1, **more):
    row = {"event_timestamp": START + hour * HOUR, "key__customer_id": customer, "input__channel": "web"}
    return {**row, **more}


def test_answers_and_labels_are_events_with_the_time_they_became_known(repo):
    model = served(repo)
    one, two = model.answer([question(0), question(1, customer=2)])
    model.post(one, 1.0, known_us=START + HOUR, now_us=START + 5 * HOUR)
    build_features(repo)

    asked = ask(repo, "all.sql")

    assert [row["prediction_id"] for row in asked] == [one, two]
    assert [row["customer_id"] for row in asked] == [1, 2]
    assert asked[0]["known_at"] == asked[0]["event_timestamp"] == from_us(START)
    assert ask(repo, "newest.sql", known_by=from_us(START + 4 * HOUR)) == []
    assert ask(repo, "newest.sql", known_by=from_us(START + 5 * HOUR)) == [
        {"prediction_id": one, "label": 1.0}
    ]


def test_a_log_that_does_not_change_builds_nothing_again_and_one_that_grows_does(repo):
    model = served(repo)
    (one,) = model.answer([question(0)])
    build_features(repo)
    events = repo / "data" / "events"
    before = {path.name: path.stat().st_mtime_ns for path in events.iterdir()}

    build_features(repo)
    assert {path.name: path.stat().st_mtime_ns for path in events.iterdir()} == before
    model.close()  # a journal that becomes a segment holds the same rows
    build_features(repo)
    assert {path.name: path.stat().st_mtime_ns for path in events.iterdir()} == before

    served(repo).post(one, 1.0, known_us=START, now_us=START + HOUR)
    build_features(repo)
    assert len(ask(repo, "newest.sql")) == 1


def test_before_the_first_answer_there_are_no_rows(repo):
    build_features(repo)

    assert ask(repo, "all.sql") == ask(repo, "newest.sql") == []


def test_a_column_that_was_never_logged_is_named(repo):
    served(repo).answer([question(0)])
    toml = repo / "pipelines" / "pipelines.toml"
    toml.write_text(toml.read_text().replace("input__channel", "input__chanel"))

    with pytest.raises(
        ServedLogError, match=r"logged \['input__chanel'\]\. .*'input__channel', 'key__customer_id'"
    ):
        build_features(repo)


def test_a_column_of_another_type_is_named(repo):
    served(repo).answer([question(0)])
    toml = repo / "pipelines" / "pipelines.toml"
    toml.write_text(toml.read_text().replace('key__customer_id = "BIGINT"', 'key__customer_id = "VARCHAR"'))

    with pytest.raises(ServedLogError, match="'key__customer_id' is declared as string, but logged as int64"):
        build_features(repo)


def test_a_version_that_did_not_know_a_column_yet_has_nulls(repo):
    model = served(repo)
    model.answer([question(1)])
    older = model._schema.remove(model._schema.get_field_index("input__channel"))
    served(repo, version="0", schema=older).answer([question(0)])
    build_features(repo)

    assert [row["input__channel"] for row in ask(repo, "all.sql")] == [None, "web"]


def test_another_models_labels_stay_out(repo):
    served(repo).answer([question(0)])
    other = ServedModel(repo.parent / "predictions", "basket_b")
    (theirs,) = other.answer([question(0)])
    other.post(theirs, 1.0, known_us=START, now_us=START + HOUR)
    build_features(repo)

    assert ask(repo, "newest.sql") == []


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ('columns = { key__x = "INTEGER" }', "served.basket.columns.key__x"),
        ('colums = { key__x = "BIGINT" }', "served.basket.colums"),
        ("", None),
    ],
    ids=["a type no log has", "an unknown word", "nothing more"],
)
def test_a_declaration_is_checked(repo, declared, problem):
    toml = repo / "pipelines" / "pipelines.toml"
    lines = [declared if line.startswith("columns") else line for line in toml.read_text().splitlines()]
    toml.write_text("\n".join(lines))
    if problem is None:
        (repo / "pipelines" / "asked.sql").write_text("SELECT *, 1 AS customer_id FROM served_basket")
        build_features(repo)
    else:
        with pytest.raises(ConfigError, match=problem):
            build_features(repo)


POSTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 5), st.integers(0, 6)), max_size=12
)


@settings(max_examples=scale(12, 400))
@given(posts=POSTS, asked_at=st.integers(0, 13))
def test_what_was_known_by_a_time_never_changes(tmp_path_factory, posts, asked_at):
    """A label is known from the later of its own time and its posting; brute force over the posts."""
    repo = make_repo(tmp_path_factory.mktemp("law"))
    model = served(repo)
    ids = model.answer([question(0, customer=n) for n in range(4)])
    # No two labels of a prediction are equal in both times: which one wins then is the log's order.
    unique = {(which, known, known + late): label for which, label, known, late in posts}
    for (which, known, now), label in sorted(unique.items(), key=lambda post: post[0][2]):
        model.post(ids[which], float(label), known_us=START + known * HOUR, now_us=START + now * HOUR)
    model.close()
    build_features(repo)

    wanted = {}
    for (which, known, now), label in unique.items():
        if max(known, now) <= asked_at:
            wanted[ids[which]] = max(wanted.get(ids[which], (-1, -1, -1)), (known, now, label))
    found = ask(repo, "newest.sql", known_by=from_us(START + asked_at * HOUR))
    assert {row["prediction_id"]: row["label"] for row in found} == {
        one: float(label) for one, (_, _, label) in wanted.items()
    }
    shutil.rmtree(repo.parent)


def test_the_answers_feature_is_visible_once_its_label_was_posted(repo):
    model = served(repo)
    (one,) = model.answer([question(0)])
    model.post(one, 1.0, known_us=START + HOUR, now_us=START + 30 * HOUR)

    (built,) = build_features(repo)

    (row,) = pq.read_table(built.path).to_pylist()
    assert row["created_timestamp"] - row["event_timestamp"] == timedelta(hours=29)
