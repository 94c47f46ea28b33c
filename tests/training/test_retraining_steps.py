"""Each step of an open attempt from a record made by hand: no features, no fit, no Feast."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

import training.promotion as promotion
import training.retraining as retraining
from knownat.clock import FixedClock, to_us
from knownat.contract.deployment import read_history
from knownat.contract.prediction_log import Role
from knownat.contract.release import Deployed, read_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from tests.training.made import MOMENT
from tests.training.test_promotion import EVIDENCE, publish_small
from training.audit import Step, append, read_lines
from training.leads import Lead
from training.pipeline import say_nothing
from training.promotion import record
from training.retraining import Ask, retrain
from training.shadowed import Compared, Waiting

MODEL = "late_parcel"
BEGUN = datetime(2024, 4, 1, tzinfo=UTC)
NOW = datetime(2024, 4, 2, tzinfo=UTC)
CUTOFF = datetime(2024, 3, 10, tzinfo=UTC)
DECLARED = """
name = "late_parcel"
description = "Will this parcel be late?"
owner = "parcels@example.org"
runbook = "docs/late_parcel.md"
task = "binary"
feature_service = "late_parcel"
metric = "auc"

[examples]
sql = "late_parcel.sql"
keys = { depot_id = "int64" }
inputs = { weight_kg = "float64" }

[time]
cutoff = 2024-03-01T00:00:00Z
validation_days = 7
gap_hours = 24
test_days = 14

[retraining]
by = 0.01
give_up_days = 60
promotion = "policy"
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Version 1 is champion, and version 2, where a test publishes it, is what the attempt trained."""
    made = Workspace.at(tmp_path / "feature_repo")
    made.models.mkdir(parents=True)
    made.model_file(MODEL).write_text(DECLARED)
    (made.models / "late_parcel.sql").write_text("SELECT 1")
    release = publish_small(made.releases)
    champion = Deployed(version="1", digest=release.digest)
    record(made, MODEL, champion, role=Role.CHAMPION, reason=None, when=BEGUN)
    monkeypatch.setattr(promotion, "trial_load", lambda path, digest: None)
    return made


@pytest.fixture
def fits(monkeypatch):
    """Keep the version that a training is asked for; none comes out of it."""
    asked = []

    def train(workspace, model, *, clock, version, time, progress):
        asked.append((version, time.cutoff, time.test_days))
        raise ConfigError(model, ["has no questions"])

    monkeypatch.setattr(retraining, "train", train)
    return asked


def write(workspace, *steps, at=BEGUN, **evidence):
    told = {
        Step.ASKED: {"version": "2", "cutoff": CUTOFF.isoformat(), "test_days": 9},
        Step.TRAINED: {"version": "2"},
        Step.SHADOWED: {"champion": "1"},
        Step.COMPARED: {"champion": "1", "not_worse": True, **evidence},
    }
    for step in steps:
        append(workspace, MODEL, 1, step, at=at, why=f"it was {step}", evidence=told[step])


def shadow(workspace, version="2", role=Role.SHADOW, **options):
    release = publish_small(workspace.releases, version=version, **options)
    deployed = Deployed(version=version, digest=release.digest)
    record(workspace, MODEL, deployed, role=role, reason=None, when=BEGUN)


def advance(workspace, *, now=NOW, **ask):
    return retrain(workspace, MODEL, Ask(**ask), clock=FixedClock(to_us(now)), progress=say_nothing)


def ended(workspace):
    last = read_lines(workspace, MODEL)[-1]
    return last.step.value, last.why


def serving(workspace):
    return read_deployment(workspace.deployment).models[MODEL]


TRAINED = (Step.ASKED, Step.TRAINED)
SHADOWED = (*TRAINED, Step.SHADOWED)
COMPARED = (*SHADOWED, Step.COMPARED)


def test_an_attempt_is_trained_under_the_number_and_the_cutoff_it_was_begun_with(workspace, fits):
    write(workspace, Step.ASKED)
    assert advance(workspace).refused
    assert fits == [("2", CUTOFF, 9)]
    assert ended(workspace)[1].startswith("it cannot be trained: ")


def test_the_release_of_a_run_that_was_killed_is_taken_up(workspace, fits):
    write(workspace, Step.ASKED)
    made = publish_small(workspace.releases, version="2", cutoff=CUTOFF, created_at=BEGUN)
    advance(workspace)
    assert fits == []
    _, trained, put = read_lines(workspace, MODEL)
    assert (trained.step, trained.evidence["digest"], put.step) == (Step.TRAINED, made.digest, Step.SHADOWED)


@pytest.mark.parametrize(
    "theirs",
    [
        {"cutoff": CUTOFF, "created_at": BEGUN - timedelta(seconds=1)},
        {"cutoff": CUTOFF - timedelta(days=1), "created_at": NOW},
        None,
    ],
    ids=["made before", "of another cutoff", "half a release"],
)
def test_what_somebody_else_made_under_the_number_is_not_taken_for_the_attempts(workspace, fits, theirs):
    write(workspace, Step.ASKED)
    if theirs is None:
        (workspace.releases / MODEL / "2").mkdir(parents=True)
    else:
        publish_small(workspace.releases, version="2", **theirs)
    advance(workspace)
    # The number is taken, so the next free one is.
    assert fits == [(None, CUTOFF, 9)]


def test_a_version_that_stands_in_shadow_already_is_not_put_there_again(workspace):
    write(workspace, *TRAINED)
    shadow(workspace)
    advance(workspace)
    assert [line["version"] for line in read_history(workspace)] == ["1", "2"]
    assert ended(workspace) == ("shadowed", "it passed its gates")


def test_what_cannot_serve_as_a_shadow_ends_the_attempt(workspace):
    write(workspace, *TRAINED)
    publish_small(workspace.releases, {**EVIDENCE, "problems": ["table 'x' knew the future"]}, version="2")
    assert advance(workspace).refused
    step, why = ended(workspace)
    assert step == "refused"
    assert why.startswith("it cannot serve as a shadow: ")
    assert serving(workspace).shadow == ()


@pytest.mark.parametrize(
    ("role", "told"), [(Role.PINNED, "pinned"), (Role.CHALLENGER, "challenger"), (None, "nothing")]
)
@pytest.mark.parametrize("steps", [SHADOWED, COMPARED])
def test_what_a_person_took_up_is_let_be(workspace, role, told, steps):
    write(workspace, *steps)
    if role is not None:
        shadow(workspace, role=role)
    before = serving(workspace)
    assert advance(workspace).refused
    assert ended(workspace) == ("refused", f"it serves as {told} now: a person took it up")
    assert serving(workspace) == before


@pytest.mark.parametrize("steps", [SHADOWED, COMPARED])
def test_an_attempt_whose_champion_was_replaced_ends(workspace, steps):
    write(workspace, *steps)
    shadow(workspace)
    shadow(workspace, "3", role=Role.CHAMPION)
    assert advance(workspace).refused
    assert ended(workspace) == ("refused", "version 3 became champion meanwhile")
    assert (serving(workspace).champion.version, serving(workspace).shadow) == ("3", ())


@pytest.mark.parametrize(("later", "step"), [(timedelta(0), "shadowed"), (timedelta(seconds=1), "refused")])
def test_a_shadow_is_given_its_days(workspace, monkeypatch, later, step):
    write(workspace, *SHADOWED)
    shadow(workspace)
    monkeypatch.setattr(retraining, "compare_answers", lambda *arguments, **options: Waiting(7, 3))
    outcome = advance(workspace, now=BEGUN + timedelta(days=60) + later)
    assert ended(workspace)[0] == step
    assert "7 of" in outcome.told[-1] or "only 7 labelled answers in 60 days" in outcome.told[-1]


@pytest.mark.parametrize(("low", "champion"), [(-0.01, "2"), (-0.0101, "1")])
def test_what_is_surely_not_worse_by_more_than_declared_is_promoted(workspace, monkeypatch, low, champion):
    write(workspace, *SHADOWED)
    shadow(workspace)
    found = Compared(Lead(0.0, low, 0.01), 100, 20, NOW)
    monkeypatch.setattr(retraining, "compare_answers", lambda *arguments, **options: found)
    advance(workspace)
    assert (serving(workspace).champion.version, serving(workspace).shadow) == (champion, ())


def test_what_cannot_be_promoted_any_more_is_taken_away(workspace):
    write(workspace, *COMPARED)
    shadow(workspace, certificate={**EVIDENCE, "problems": ["table 'x' knew the future"]})
    assert advance(workspace).refused
    assert ended(workspace)[1].startswith("it cannot be promoted: ")
    assert (serving(workspace).champion.version, serving(workspace).shadow) == ("1", ())


def test_a_champion_that_comes_while_a_version_is_tried_is_not_replaced(workspace, monkeypatch):
    write(workspace, *COMPARED)
    shadow(workspace)
    monkeypatch.setattr(
        promotion, "trial_load", lambda path, digest: shadow(workspace, "3", role=Role.CHAMPION)
    )
    assert advance(workspace).refused
    assert "version 3 of 'late_parcel' is champion now, not version 1" in ended(workspace)[1]
    assert (serving(workspace).champion.version, serving(workspace).shadow) == ("3", ())


def test_answers_are_counted_only_where_a_number_of_new_ones_is_declared(workspace, monkeypatch):
    known = pa.array([NOW - timedelta(hours=1), NOW - timedelta(hours=2)], MOMENT)
    asked = pa.table({"label": [1.0, 0.0], "label_timestamp": known})
    monkeypatch.setattr(retraining, "build_features", lambda repo: None)
    monkeypatch.setattr(retraining, "read_examples", lambda *arguments: pytest.fail("nobody asked"))
    (told,) = advance(workspace).told
    assert told == "nothing is trained: there is no verdict; run `knownat monitor`; no schedule is declared"
    declared = workspace.model_file(MODEL)
    declared.write_text(declared.read_text() + "new_answers = 3\n")
    monkeypatch.setattr(retraining, "read_examples", lambda *arguments: asked)
    (told,) = advance(workspace).told
    assert told.endswith("no schedule is declared; 2 answers came since 2024-03-01; 3 are declared")
