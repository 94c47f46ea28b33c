"""What the record of promotions says, whoever is killed while writing it."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from knownat.clock import FixedClock, to_us
from knownat.contract.deployment import change_deployment, read_history
from knownat.contract.prediction_log import Role
from knownat.contract.release import Deployed, GateResult, read_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from tests.scoring.small_release import publish_small
from tests.training.test_promotion import EVIDENCE
from training.champions import champion_at, earlier_champion
from training.overview import list_versions
from training.promotion import promote, record, roll_back

MODEL = "late_parcel"
START = datetime(2024, 3, 2, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.setenv("KNOWNAT_USER", "ada")
    return Workspace.at(tmp_path / "feature_repo")


def deployed(version):
    return Deployed(version=version, digest=version * 64)


def serve(workspace, version, *, day=0, role=Role.CHAMPION, **options):
    when = START + timedelta(days=day)
    return record(workspace, MODEL, deployed(version), role=role, reason=None, when=when, **options)


def champion(workspace):
    return read_deployment(workspace.deployment).models[MODEL].champion.version


def test_a_line_says_who_did_what_why_and_on_what_evidence(workspace):
    gate = GateResult(gate="auc at least 0.7", value=0.8, bound=0.7, passed=True)
    record(workspace, MODEL, deployed("1"), role=Role.CHAMPION, reason="first", when=START, gates=(gate,))
    record(workspace, MODEL, deployed("2"), role=Role.CHAMPION, reason="better", when=START)
    first, second = read_history(workspace)
    assert first["gates"] == [{"gate": "auc at least 0.7", "value": 0.8, "bound": 0.7, "passed": True}]
    assert (first["number"], first["found_champion"], first["who"]) == (1, None, "ada")
    assert (second["number"], second["found_champion"], second["reason"]) == (2, "1", "better")


def test_a_line_lost_to_a_kill_is_read_and_written_by_the_next_change(workspace):
    serve(workspace, "1")
    serve(workspace, "2", day=1)
    history = workspace.releases / "promotions.jsonl"
    whole = history.read_bytes()
    # Killed after what serves was written, and before or while its line was.
    for left in (whole.splitlines(keepends=True)[0], whole[:-20]):
        history.write_bytes(left)
        assert [line["version"] for line in read_history(workspace)] == ["1", "2"]
    serve(workspace, "3", day=2)
    assert [json.loads(line)["version"] for line in history.read_text().splitlines()] == ["1", "2", "3"]


def test_a_change_that_raises_leaves_no_line(workspace):
    serve(workspace, "1")
    with pytest.raises(ReleaseError, match="is the champion"):
        serve(workspace, "1", role=Role.SHADOW)
    assert len(read_history(workspace)) == 1
    assert champion(workspace) == "1"


def test_eight_promotions_at_once_leave_one_champion_and_a_chain_of_lines(workspace):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda version: serve(workspace, version), "12345678"))
    lines = read_history(workspace)
    assert [line["number"] for line in lines] == list(range(1, 9))
    # Each found the champion that the line before it made.
    assert [line["found_champion"] for line in lines[1:]] == [line["version"] for line in lines[:-1]]
    assert champion(workspace) == lines[-1]["version"]
    assert champion_at(lines, MODEL, START).version == champion(workspace)


def test_who_was_champion_at_a_time_is_known(workspace):
    serve(workspace, "1", day=0)
    serve(workspace, "2", day=2, role=Role.CHALLENGER)
    serve(workspace, "2", day=4)
    retired = {
        "at": (START + timedelta(days=6)).isoformat(),
        "model": MODEL,
        "version": None,
        "role": "retired",
    }
    change_deployment(workspace, lambda before: before, retired)
    history = read_history(workspace)

    def at(days):
        found = champion_at(history, MODEL, START + timedelta(days=days))
        return found and found.version

    assert [at(day) for day in (-1, 0, 3, 4, 5.9, 6)] == [None, "1", "1", "2", "2", None]
    assert champion_at(history, "other", START) is None


def test_a_model_that_was_taken_out_of_service_is_not_rolled_back(workspace):
    for day, version in enumerate("12"):
        serve(workspace, version, day=day)
    shadow = {"at": START.isoformat(), "model": MODEL, "version": "9", "role": "retired"}
    change_deployment(workspace, lambda before: before, shadow)
    assert earlier_champion(read_history(workspace), MODEL).version == "1"
    change_deployment(workspace, lambda before: before, {**shadow, "version": None})
    with pytest.raises(ReleaseError, match="'late_parcel' was taken out of service"):
        earlier_champion(read_history(workspace), MODEL)
    serve(workspace, "3")
    assert earlier_champion(read_history(workspace), MODEL).version == "2"


def test_each_rollback_goes_back_one_more(workspace):
    for day, version in enumerate("1223"):
        serve(workspace, version, day=day)
    assert earlier_champion(read_history(workspace), MODEL).version == "2"
    serve(workspace, "2", is_rollback=True)
    assert earlier_champion(read_history(workspace), MODEL).version == "1"
    serve(workspace, "1", is_rollback=True)
    with pytest.raises(ReleaseError, match="No champion of 'late_parcel' came before"):
        earlier_champion(read_history(workspace), MODEL)
    serve(workspace, "4")
    assert earlier_champion(read_history(workspace), MODEL).version == "1"


def test_a_rollback_serves_the_very_folder_that_served(workspace):
    clock = FixedClock(to_us(START))
    files = {"certificate.json": json.dumps(EVIDENCE)}
    for version in "12":
        publish_small(workspace.releases, version, files=files)
        promote(workspace, MODEL, version, clock=clock)
    assert roll_back(workspace, MODEL, reason="slow", clock=clock).models[MODEL].champion.version == "1"
    assert read_history(workspace)[-1]["reason"] == "slow"
    with pytest.raises(ReleaseError, match="No champion of 'late_parcel' came before"):
        roll_back(workspace, MODEL, clock=clock)
    assert {version.version: version.role for version in list_versions(workspace)} == {
        "1": "champion",
        "2": None,
    }
    promote(workspace, MODEL, "2", clock=clock)
    os.truncate(workspace.releases / MODEL / "1" / "model.txt", 10)
    with pytest.raises(ReleaseError, match="was changed"):
        roll_back(workspace, MODEL, clock=clock)


def test_a_rollback_refuses_another_release_of_the_same_number(workspace):
    clock = FixedClock(to_us(START))
    files = {"certificate.json": json.dumps(EVIDENCE)}
    for version in "12":
        publish_small(workspace.releases, version, files=files)
        promote(workspace, MODEL, version, clock=clock)
    shutil.rmtree(workspace.releases / MODEL / "1")
    publish_small(workspace.releases, "1", files=files, opposite=True)
    with pytest.raises(ReleaseError, match="digest"):
        roll_back(workspace, MODEL, clock=clock)
    assert champion(workspace) == "2"


def test_a_rollback_tries_to_load_what_it_goes_back_to(workspace):
    broken = publish_small(workspace.releases, "1", damage=lambda model: model[: len(model) // 2])
    served = Deployed(version="1", digest=broken.digest)
    record(workspace, MODEL, served, role=Role.CHAMPION, reason=None, when=START)
    serve(workspace, "2", day=1)
    with pytest.raises(ReleaseError, match="trial load"):
        roll_back(workspace, MODEL, clock=FixedClock(to_us(START)))
    assert champion(workspace) == "2"


def test_the_commands_list_what_serves_and_what_served_and_go_back(workspace, run_knownat, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    files = {"certificate.json": json.dumps(EVIDENCE)}
    for day, version in enumerate("12"):
        publish_small(workspace.releases, version, files=files)
        promote(workspace, MODEL, version, clock=FixedClock(to_us(START + timedelta(days=day))))
    repo = ["--repo", str(workspace.repo), "--json"]
    listed = json.loads(run_knownat("models", *repo).stdout)
    assert [(v["version"], v["role"], v["metric"], v["value"]) for v in listed] == [
        ("1", None, "auc", 0.8),
        ("2", "champion", "auc", 0.8),
    ]
    (served,) = json.loads(run_knownat("models", MODEL, *repo, "--at", "2024-03-02T12:00:00Z").stdout)
    assert served["version"] == "1"
    done = run_knownat("rollback", MODEL, *repo, "--reason", "slow")
    assert done.returncode == 0, done.stderr
    assert champion(workspace) == "1"
    assert run_knownat("rollback", MODEL, *repo).returncode == 2
    assert run_knownat("models", *repo, "--at", "yesterday").returncode == 2
