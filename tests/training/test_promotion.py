import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from knownat.clock import FixedClock, to_us
from knownat.contract.prediction_log import Role
from knownat.contract.release import Deployed, GateResult, ModelDeployment, read_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from tests.scoring import small_release
from training.promotion import assign, promote, record

NOW = FixedClock(to_us(datetime(2024, 3, 2, tzinfo=UTC)))
EVIDENCE = {
    "format": 2,
    "future": [
        {
            "instant": "2024-03-01T00:00:00+00:00",
            "rows_visible": 900,
            "questions": 400,
            "columns": 4,
            "canaries": {"future_label": 9},
        }
    ],
    "problems": [],
    "open_suspicions": [],
}
FAILED = GateResult(gate="auc at least 0.9", value=0.8, bound=0.9, passed=False)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace.at(tmp_path / "feature_repo")


def publish_small(folder, certificate=EVIDENCE, **options):
    files = {} if certificate is None else {"certificate.json": json.dumps(certificate)}
    return small_release.publish_small(folder, files=files, **options)


def serve(workspace, version, **options):
    return promote(workspace, "late_parcel", version, clock=NOW, **options).models["late_parcel"]


def test_a_promoted_version_serves_by_its_digest(workspace):
    release = publish_small(workspace.releases)
    champion = serve(workspace, "1").champion
    assert (champion.version, champion.digest) == ("1", release.digest)
    assert read_deployment(workspace.deployment).models["late_parcel"].champion == champion
    (line,) = (workspace.releases / "promotions.jsonl").read_text().splitlines()
    assert json.loads(line)["at"] == "2024-03-02T00:00:00+00:00"


def test_a_version_has_one_role_at_a_time():
    one, two = (Deployed(version=version, digest="a" * 64) for version in "12")
    champion = assign(None, one, Role.CHAMPION, model="m")
    shadowed = assign(champion, two, Role.SHADOW, model="m")
    assert (shadowed.champion, shadowed.shadow) == (one, (two,))
    challenged = assign(shadowed, two, Role.CHALLENGER, model="m")
    assert (challenged.challenger, challenged.shadow) == (two, ())
    swapped = assign(challenged, two, Role.CHAMPION, model="m")
    assert (swapped.champion, swapped.challenger) == (two, None)


@pytest.mark.parametrize("role", Role)
def test_a_retired_version_that_serves_again_is_retired_no_more(role):
    one, two = (Deployed(version=version, digest="a" * 64) for version in "12")
    before = ModelDeployment(champion=one, retired=("2", "3"))
    again = assign(before, two, role, model="m")
    assert ([each.version for each in again.serving if each == two], again.retired) == (["2"], ("3",))


@pytest.mark.parametrize("role", [Role.CHALLENGER, Role.SHADOW])
def test_only_beside_a_champion_is_there_a_second_role(role):
    one = Deployed(version="1", digest="a" * 64)
    with pytest.raises(ReleaseError, match="no champion yet"):
        assign(None, one, role, model="m")
    with pytest.raises(ReleaseError, match="is the champion"):
        assign(ModelDeployment(champion=one), one, role, model="m")


def test_a_failed_gate_needs_a_reason_and_the_reason_is_kept(workspace):
    publish_small(workspace.releases, gates=(FAILED,))
    with pytest.raises(ReleaseError, match=r"failed its gates: auc at least 0\.9 \(it is 0\.8\)"):
        serve(workspace, "1")
    assert not workspace.deployment.exists()
    serve(workspace, "1", reason="a trial with ten users")
    assert "a trial with ten users" in (workspace.releases / "promotions.jsonl").read_text()


def test_a_release_that_breaks_on_loading_is_not_promoted(workspace):
    publish_small(workspace.releases, damage=lambda model: model[: len(model) // 2])
    with pytest.raises(ReleaseError, match="trial load"):
        serve(workspace, "1")
    assert not workspace.deployment.exists()


def test_a_release_of_another_model_serves_under_no_other_name(workspace):
    publish_small(workspace.releases)
    (workspace.releases / "late_parcel").rename(workspace.releases / "lost_parcel")
    with pytest.raises(ReleaseError, match="is a release of 'late_parcel', not of 'lost_parcel'"):
        promote(workspace, "lost_parcel", "1", reason="it is much the same", clock=NOW)
    assert not workspace.deployment.exists()


@pytest.mark.parametrize(
    ("certificate", "told"),
    [
        (None, "no certificate"),
        ({}, "cannot be read"),
        ({**EVIDENCE, "format": 1}, "lacks the future test"),
        ({**EVIDENCE, "future": []}, "lacks the future test"),
        ({**EVIDENCE, "problems": ["table 'orders' knew the future"]}, "table 'orders' knew the future"),
    ],
)
def test_without_a_certificate_that_holds_nothing_serves_for_any_reason(workspace, certificate, told):
    publish_small(workspace.releases, certificate)
    with pytest.raises(ReleaseError, match=told):
        serve(workspace, "1", reason="we need it today")
    assert not workspace.deployment.exists()


def test_an_open_suspicion_is_told_and_may_be_overruled_with_a_reason(workspace):
    leak = GateResult(gate="signs of a leak", value=1, bound=0, passed=False)
    publish_small(
        workspace.releases, {**EVIDENCE, "open_suspicions": ["Column 'x' alone tells"]}, gates=(leak,)
    )
    with pytest.raises(ReleaseError, match=r"signs of a leak .*\n- Column 'x' alone tells"):
        serve(workspace, "1")
    assert serve(workspace, "1", reason="x is the timetable").champion.version == "1"


def test_what_was_held_against_one_champion_does_not_replace_another(workspace):
    for version in "123":
        publish_small(workspace.releases, version=version)
    with pytest.raises(ReleaseError, match="nothing of 'late_parcel' is champion now, not version 1"):
        serve(workspace, "2", instead_of="1")
    serve(workspace, "1")
    serve(workspace, "3")
    with pytest.raises(ReleaseError, match="version 3 of 'late_parcel' is champion now, not version 1"):
        serve(workspace, "2", instead_of="1")
    assert read_deployment(workspace.deployment).models["late_parcel"].champion.version == "3"
    assert serve(workspace, "2", instead_of="3").champion.version == "2"


def test_only_a_challengers_share_of_the_requests_is_kept(workspace):
    workspace.releases.mkdir()
    one, two = (Deployed(version=version, digest="a" * 64) for version in "12")
    when = datetime(2024, 3, 2, tzinfo=UTC)

    def share_as(deployed, role, share):
        changed = record(workspace, "late_parcel", deployed, role=role, share=share, reason=None, when=when)
        return changed.models["late_parcel"].challenger_share

    usual = share_as(one, Role.CHAMPION, None)
    assert share_as(two, Role.CHALLENGER, 0.25) == 0.25
    assert share_as(two, Role.SHADOW, 0.5) == 0.25
    assert share_as(two, Role.CHALLENGER, None) == 0.25
    assert usual != 0.25


def test_promotions_at_one_time_lose_none_of_them(workspace):
    workspace.releases.mkdir()
    models = [f"parcel_{number:02}" for number in range(24)]

    def record_one(model):
        deployed = Deployed(version="1", digest="a" * 64)
        when = datetime(2024, 3, 2, tzinfo=UTC)
        record(workspace, model, deployed, role=Role.CHAMPION, reason=None, when=when)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record_one, models))
    assert sorted(read_deployment(workspace.deployment).models) == models
    assert len((workspace.releases / "promotions.jsonl").read_text().splitlines()) == 24
