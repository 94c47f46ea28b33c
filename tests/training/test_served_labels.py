"""A model that learns from what another answered and what was posted of it: no label before its posting."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from knownat.clock import FixedClock, to_us
from knownat.contract.model_spec import read_spec
from knownat.contract.workspace import Workspace
from knownat.stores.pipelines import build_features, query_events
from knownat.stores.repo import apply_repo
from tests.stores.served import ServedModel
from tests.training import shop
from training.examples import read_examples
from training.pipeline import say_nothing, train
from training.reproduction import reproduce

pytestmark = pytest.mark.xdist_group("feast-training")
NOW = FixedClock(to_us(datetime(2024, 5, 1, tzinfo=UTC)))
MODEL = "return_logged"
HOUR_US = 3_600_000_000
PIPELINES = """
[served.return_soon]
model = "return_soon"
columns = { key__customer_id = "BIGINT" }

[[event]]
name = "asked"
sql = "asked.sql"
known_at = "logged_at"

[[event]]
name = "answers"
sql = "answers.sql"
known_at = "greatest(label_timestamp, logged_at)"
"""
ASKED = "SELECT *, key__customer_id AS customer_id FROM served_return_soon WHERE role <> 'shadow'"
ANSWERS = "SELECT * FROM served_return_soon_labels"
EXAMPLES = """
WITH latest AS (
    SELECT * FROM answers
    QUALIFY row_number() OVER (PARTITION BY prediction_id ORDER BY label_timestamp DESC, logged_at DESC) = 1
)
SELECT
    customer_id,
    event_timestamp,
    epoch_us(event_timestamp) AS question_epoch_us,
    CAST(latest.label AS BIGINT) AS label,
    latest.known_at AS label_timestamp
FROM asked LEFT JOIN latest USING (prediction_id)
-- A question that was asked twice is one example.
QUALIFY row_number() OVER (PARTITION BY customer_id, event_timestamp ORDER BY asked.logged_at) = 1
ORDER BY event_timestamp, customer_id
"""


def declare(repo):
    """Add the log to the shop's pipelines, and a model that learns from it."""
    pipelines, models = repo / "pipelines", repo / "models"
    toml = (pipelines / "pipelines.toml").read_text()
    raw, rest = toml.split("[[event]]", 1)
    (pipelines / "pipelines.toml").write_text(f"{raw}{PIPELINES}\n[[event]]{rest}")
    (pipelines / "asked.sql").write_text(ASKED)
    (pipelines / "answers.sql").write_text(ANSWERS)
    text = (models / "return_soon.toml").read_text().replace("return_soon.sql", f"{MODEL}.sql")
    (models / f"{MODEL}.toml").write_text(text.replace('name = "return_soon"', f'name = "{MODEL}"'))
    (models / f"{MODEL}.sql").write_text(EXAMPLES)


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A shop whose questions were answered, each label posted two hours after it was known."""
    repo = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    build_features(repo)
    questions = query_events(repo, repo / "models" / "return_soon.sql").to_pylist()
    model = ServedModel(repo.parent / "predictions", "return_soon")
    ids = model.answer(
        {"event_timestamp": to_us(q["event_timestamp"]), "key__customer_id": q["customer_id"]}
        for q in questions
    )
    for one, q in zip(ids, questions, strict=True):
        known = to_us(q["label_timestamp"])
        model.post(one, float(q["label"]), known_us=known, now_us=known + 2 * HOUR_US)
    model.close()
    declare(repo)
    build_features(repo)
    apply_repo(repo)
    return Workspace.at(repo), questions, ids


@pytest.fixture(scope="module")
def release(logged):
    return train(logged[0], MODEL, clock=NOW, version="1")


@pytest.fixture
def copy(logged, release, tmp_path):
    """A copy whose log may grow."""
    shutil.copytree(logged[0].home, tmp_path / "shop")
    return Workspace.at(tmp_path / "shop" / "feature_repo")


def change_the_past(workspace, ids, questions):
    """Long after the cutoff, post the contrary of every label, as if it had been known at once."""
    model = ServedModel(workspace.predictions, "return_soon")
    for one, q in zip(ids, questions, strict=True):
        known = to_us(q["label_timestamp"]) + 1
        model.post(one, float(not q["label"]), known_us=known, now_us=to_us(shop.CUTOFF) + 30 * 24 * HOUR_US)
    model.close()
    build_features(workspace.repo)


def known_by_cutoff(workspace):
    spec = read_spec(workspace.model_file(MODEL))
    return read_examples(workspace, spec, known_by=spec.time.cutoff)


def test_a_model_learns_from_logged_answers_and_posted_labels(logged, release):
    workspace, questions, _ = logged
    examples = known_by_cutoff(workspace).to_pylist()

    wanted = {(q["customer_id"], q["event_timestamp"]): q for q in questions}
    assert len(examples) == sum(q["event_timestamp"] <= shop.CUTOFF for q in questions)
    for example in examples:
        question = wanted[example["customer_id"], example["event_timestamp"]]
        posted = question["label_timestamp"] + timedelta(hours=2)
        if posted <= shop.CUTOFF:
            assert (example["label"], example["label_timestamp"]) == (float(question["label"]), posted)
        else:
            assert (example["label"], example["label_timestamp"]) == (None, None)
    assert release.manifest.passed
    assert release.manifest.metrics["auc"].low > 0.6


def test_labels_posted_after_the_cutoff_change_no_byte_of_the_release(logged, release, copy):
    _, questions, ids = logged
    before = known_by_cutoff(copy)

    change_the_past(copy, ids, questions)

    assert known_by_cutoff(copy).equals(before)
    after = read_examples(copy, read_spec(copy.model_file(MODEL))).to_pylist()
    flipped = [row["label"] for row in after if row["event_timestamp"] <= shop.CUTOFF]
    assert flipped == [float(not q["label"]) for q in questions if q["event_timestamp"] <= shop.CUTOFF]
    found = reproduce(copy, release, progress=say_nothing)
    assert found.files["model.txt"]
    assert found.files["baseline.parquet"]


def test_without_the_time_of_posting_the_past_would_change(logged, copy):
    """What the declared known_at is there for: by the label's own time alone, the same posts reach back."""
    _, questions, ids = logged
    toml = copy.repo / "pipelines" / "pipelines.toml"
    toml.write_text(toml.read_text().replace("greatest(label_timestamp, logged_at)", "label_timestamp"))
    build_features(copy.repo)
    before = known_by_cutoff(copy)

    change_the_past(copy, ids, questions)

    assert not known_by_cutoff(copy).equals(before)
