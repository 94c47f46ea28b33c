"""Retraining on a small shop through Feast: each step, each refusal, and a kill between any two steps."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.clock import FixedClock, to_us
from knownat.contract.deployment import read_history
from knownat.contract.prediction_log import LABEL_SCHEMA, Role, prediction_schema
from knownat.contract.release import Deployed, read_deployment, read_release
from knownat.contract.verdict import Action, ModelVerdict, verdict_file
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.stores.pipelines import build_features
from knownat.stores.repo import apply_repo
from tests.soak import scale
from tests.training import shop
from tests.training.retraining_rules import MODEL, PERSON, POLICY, declare
from training.audit import Step, alone_with, read_lines
from training.pipeline import say_nothing, train
from training.promotion import promote, record
from training.retraining import Ask, retrain

pytestmark = pytest.mark.xdist_group("feast-training")
NOW = datetime(2024, 4, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Workspace:
    """A shop whose champion is version 1."""
    workspace = Workspace.at(shop.copy_shop(tmp_path_factory.mktemp("shop")))
    build_features(workspace.repo)
    apply_repo(workspace.repo)
    clock = FixedClock(to_us(datetime(2024, 3, 25, tzinfo=UTC)))
    train(workspace, MODEL, clock=clock)
    promote(workspace, MODEL, "1", clock=clock)
    return workspace


@pytest.fixture(scope="module")
def shadowed(trained, tmp_path_factory) -> Workspace:
    """The same, after a retraining by schedule came as far as the shadow."""
    home = tmp_path_factory.mktemp("shadowed")
    workspace = copy(trained, home)
    declare(workspace, PERSON)
    step(workspace)
    return workspace


def copy(workspace, home) -> Workspace:
    shutil.copytree(workspace.home, home, dirs_exist_ok=True)
    return Workspace.at(home / "feature_repo")


@pytest.fixture
def at_start(trained, tmp_path) -> Workspace:
    return copy(trained, tmp_path)


@pytest.fixture
def in_shadow(shadowed, tmp_path) -> Workspace:
    return copy(shadowed, tmp_path)


def step(workspace, *, now=NOW, **ask):
    return retrain(workspace, MODEL, Ask(**ask), clock=FixedClock(to_us(now)), progress=say_nothing)


def steps(workspace):
    return [line.step.value for line in read_lines(workspace, MODEL)]


def serving(workspace):
    return read_deployment(workspace.deployment).models[MODEL]


def log_answers(workspace, *, since, days, better):
    """Let champion and shadow answer the same questions for some days; one of them knows."""
    for version, role in (("1", "champion"), ("2", "shadow")):
        plan = read_release(workspace.releases / MODEL / version).plan
        rows = []
        for number in range(days * 5):
            when = since + timedelta(hours=1 + number * 4.8)
            label = float(number % 3 == 0)
            knows = (role == "shadow") == better
            rows.append(
                {
                    "prediction_id": f"{MODEL}.{version}{number:05d}",
                    "request_id": f"r{number}",
                    "logged_at": when,
                    "event_timestamp": when,
                    "model": MODEL,
                    "version": version,
                    "role": role,
                    "key__customer_id": number,
                    "degraded": False,
                    "score": 0.2 + 0.6 * label if knows else 0.5 + 0.01 * (number % 7),
                    "latency_us": 1,
                    **{f"served__{view.name}__status": "present" for view in plan.views},
                }
            )
        folder = workspace.predictions / MODEL / version
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, prediction_schema(plan)), folder / "segment-a.parquet")
        if role == "champion":
            labels = [
                {
                    "prediction_id": row["prediction_id"],
                    "label": float(number % 3 == 0),
                    "label_timestamp": row["event_timestamp"] + timedelta(hours=3),
                    "logged_at": row["event_timestamp"] + timedelta(hours=3),
                }
                for number, row in enumerate(rows)
            ]
            (workspace.predictions / "labels").mkdir(parents=True)
            table = pa.Table.from_pylist(labels, LABEL_SCHEMA)
            pq.write_table(table, workspace.predictions / "labels" / "segment-a.parquet")


def verdict(workspace, **changes):
    made = ModelVerdict(
        model=MODEL,
        version="1",
        action=Action.RETRAIN,
        since=NOW - timedelta(days=2),
        reasons=("performance surely fell",),
        owner="growth@example.org",
        runbook="docs/return_soon.md",
        as_of=NOW - timedelta(hours=3),
        judged_at=NOW - timedelta(hours=2),
        votes=(),
    ).model_copy(update=changes)
    verdict_file(workspace, MODEL).parent.mkdir(parents=True, exist_ok=True)
    verdict_file(workspace, MODEL).write_text(made.model_dump_json())


def test_a_schedule_trains_to_a_newer_cutoff_and_lets_the_new_version_stand_in_shadow(shadowed):
    asked, trained, put = read_lines(shadowed, MODEL)

    assert (asked.step, trained.step, put.step) == (Step.ASKED, Step.TRAINED, Step.SHADOWED)
    assert asked.evidence["trigger"] == "schedule"
    assert asked.why == "version 1 knows nothing of the last 20.0 days; every 10 days are declared"
    # A week of answers and eight days of test before the ninth of April.
    assert asked.evidence["cutoff"] == "2024-03-25T00:00:00+00:00"
    release = read_release(shadowed.releases / MODEL / "2")
    assert release.manifest.cutoff == datetime(2024, 3, 25, tzinfo=UTC)
    assert release.manifest.spec.time.test_days == 8
    assert trained.evidence["digest"] == release.digest
    assert {"metrics", "gates"} <= set(trained.evidence)
    assert [deployed.version for deployed in serving(shadowed).shadow] == ["2"]
    assert serving(shadowed).champion.version == "1"
    assert all(line.who and line.at == NOW for line in (asked, trained, put))


def test_nothing_is_trained_where_nothing_asks_for_it(at_start):
    outcome = step(at_start)

    assert not outcome.refused
    assert "there is no verdict" in outcome.told[0]
    assert steps(at_start) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": "7"}, "but of version 7; 1 serves"),
        ({"judged_at": NOW - timedelta(days=30)}, "but was made 30.0 days ago"),
    ],
)
def test_a_verdict_that_does_not_speak_of_today_is_refused_with_its_reason(at_start, changes, told):
    verdict(at_start, **changes)

    outcome = step(at_start)
    step(at_start)

    assert outcome.refused
    assert len(outcome.told) == 1
    (line,) = read_lines(at_start, MODEL)
    assert line.step is Step.REFUSED
    assert told in line.why
    assert not (at_start.releases / MODEL / "2").exists()


def test_a_verdict_is_the_evidence_of_what_is_begun_and_what_cannot_be_trained_is_refused(at_start):
    declare(at_start, "[retraining]\ntest_days = 8\n")
    path = at_start.model_file(MODEL)
    path.write_text(path.read_text().replace("validation_days = 14", "validation_days = 900"))
    verdict(at_start)

    outcome = step(at_start)

    asked, refused = read_lines(at_start, MODEL)
    assert asked.evidence["trigger"] == "verdict"
    assert asked.evidence["found"]["reasons"] == ["performance surely fell"]
    assert outcome.refused
    assert "it cannot be trained" in refused.why
    assert "the train side has no answered question" in refused.why


def test_a_cutoff_that_is_no_newer_is_refused(at_start):
    outcome = step(at_start, reason="a trial", now=datetime(2024, 4, 4, tzinfo=UTC))

    assert outcome.refused
    assert "version 1 knows all until 2024-03-20" in outcome.told[0]


def test_a_failed_gate_ends_the_attempt_and_holds_the_next_back(at_start):
    text = POLICY + '[[gates]]\nmetric = "auc"\nat_least = 0.999\n'
    declare(at_start, text)

    outcome = step(at_start)
    again = step(at_start)

    assert outcome.refused
    assert steps(at_start) == ["asked", "trained", "refused", "refused"]
    assert "it failed its gates: auc at least 0.999" in outcome.told[-1]
    assert "attempt 1 was refused" in again.told[0]
    assert not serving(at_start).shadow


def test_a_shadow_waits_for_its_answers(in_shadow):
    log_answers(in_shadow, since=NOW, days=9, better=True)

    outcome = step(in_shadow, now=NOW + timedelta(days=10))

    assert "version 2 is in shadow since 2024-04-09 00:00: 45 of 50 labelled answers" in outcome.told[0]
    assert not outcome.refused
    assert steps(in_shadow)[-1] == "shadowed"


def test_policy_promotes_what_is_surely_not_worse_on_the_same_rows(in_shadow):
    declare(in_shadow, POLICY)
    log_answers(in_shadow, since=NOW, days=30, better=True)

    step(in_shadow, now=NOW + timedelta(days=31))

    assert serving(in_shadow).champion.version == "2"
    assert serving(in_shadow).shadow == ()
    compared, promoted = read_lines(in_shadow, MODEL)[-2:]
    # Twenty whole days of five answers each, whatever came after.
    assert (compared.evidence["answers"], compared.evidence["blocks"]) == (100, 20)
    assert compared.evidence["lead"]["low"] > 0
    assert promoted.why.startswith("policy: auc +0.")
    assert read_history(in_shadow)[-1]["reason"] == promoted.why


def test_what_is_worse_is_taken_away_again(in_shadow):
    declare(in_shadow, POLICY.replace("by = 0.5", "by = 0.05"))
    log_answers(in_shadow, since=NOW, days=30, better=False)

    outcome = step(in_shadow, now=NOW + timedelta(days=31))

    assert outcome.refused
    assert serving(in_shadow).champion.version == "1"
    assert serving(in_shadow).shadow == ()
    assert "not surely at most 0.05 worse: auc -0." in read_lines(in_shadow, MODEL)[-1].why


def test_a_person_decides_where_the_policy_says_so(in_shadow):
    log_answers(in_shadow, since=NOW, days=30, better=True)
    later = NOW + timedelta(days=31)

    waits = step(in_shadow, now=later)
    done = step(in_shadow, now=later, approve="it looks right to me")

    assert "waits for a person" in waits.told[-1]
    assert not done.refused
    assert serving(in_shadow).champion.version == "2"
    assert steps(in_shadow)[-2:] == ["compared", "promoted"]
    assert read_lines(in_shadow, MODEL)[-1].why == "it looks right to me"


@pytest.mark.parametrize("rules", [PERSON, POLICY])
def test_a_comparison_with_a_champion_that_was_replaced_promotes_nothing(in_shadow, rules):
    log_answers(in_shadow, since=NOW, days=30, better=True)
    later = NOW + timedelta(days=31)
    step(in_shadow, now=later)
    other = Deployed(version="9", digest="a" * 64)
    record(in_shadow, MODEL, other, role=Role.CHAMPION, reason="a person's", when=later)
    declare(in_shadow, rules)

    outcome = step(in_shadow, now=later)

    assert outcome.refused
    assert (serving(in_shadow).champion.version, serving(in_shadow).shadow) == ("9", ())
    assert read_lines(in_shadow, MODEL)[-1].why == "version 9 became champion meanwhile"


def test_a_person_may_refuse_at_once(in_shadow):
    outcome = step(in_shadow, refuse="the timetable changes next week")

    assert outcome.refused
    assert serving(in_shadow).shadow == ()
    assert read_lines(in_shadow, MODEL)[-1].why == "the timetable changes next week"


def test_what_a_person_promoted_by_hand_is_noticed(in_shadow):
    promote(in_shadow, MODEL, "2", clock=FixedClock(to_us(NOW)))

    step(in_shadow)

    assert (steps(in_shadow)[-1], read_lines(in_shadow, MODEL)[-1].why) == (
        "promoted",
        "a person promoted it",
    )


def test_a_shadow_without_answers_is_given_up(in_shadow):
    outcome = step(in_shadow, now=NOW + timedelta(days=61))

    assert "only 0 labelled answers in 60 days" in outcome.told[-1]
    assert serving(in_shadow).shadow == ()


def test_a_decision_where_nothing_waits_is_an_error(at_start):
    with pytest.raises(ReleaseError, match="waits for a decision"):
        step(at_start, approve="why not")


def test_two_runs_at_once_train_once(at_start):
    with alone_with(at_start, MODEL), pytest.raises(ReleaseError, match="by another process"):
        step(at_start, reason="both of us")


_KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import training.attempts as attempts, training.retraining as retraining
from knownat.clock import FixedClock, to_us
from knownat.contract.workspace import Workspace
from training.pipeline import say_nothing

spot, workspace = sys.argv[1], Workspace.at(Path(sys.argv[2]))

def die(*_args, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

def after(function):
    def wrapped(*args, **named):
        function(*args, **named)
        die()
    return wrapped

append = attempts.append
def append_until(*args, **named):
    line = append(*args, **named)
    if line.step.value == spot.removeprefix("written:"):
        die()
    return line

attempts.append = append_until
if spot == "train":
    retraining.train = after(retraining.train)
if spot == "shadow":
    retraining.promote = after(retraining.promote)
retraining.retrain(
    workspace, "return_soon", retraining.Ask(), clock=FixedClock(to_us(datetime(2024, 4, 9, tzinfo=UTC))),
    progress=say_nothing,
)
"""


_SPOTS = ("train", "written:asked", "written:trained", "shadow")


@pytest.mark.parametrize("spot", _SPOTS[: scale(1, 4)])
def test_a_run_that_was_killed_between_two_steps_is_taken_up_where_it_was(at_start, shadowed, spot):
    declare(at_start, PERSON)

    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, spot, str(at_start.repo)],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert killed.returncode == -9, killed.stderr.decode()
    torn = at_start.releases / "retraining.jsonl"
    torn.write_bytes(torn.read_bytes() + b'{"half a li')
    step(at_start)

    assert steps(at_start) == ["asked", "trained", "shadowed"]
    assert [deployed.version for deployed in serving(at_start).shadow] == ["2"]
    assert {p.name for p in (at_start.releases / MODEL).iterdir() if p.name[0] != "."} == {"1", "2"}
    same = [read_release(w.releases / MODEL / "2").manifest.files["model.txt"] for w in (at_start, shadowed)]
    assert same[0] == same[1]
    assert all(json.loads(line) for line in torn.read_text().splitlines())
