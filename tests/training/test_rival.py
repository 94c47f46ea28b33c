from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

import training.rival
from knownat.contract.release import Deployed, Deployment, ModelDeployment, write_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.scoring.scorer import Scorer
from tests.scoring.small_release import CUTOFF, golden_table, make_spec, model_text, publish_small
from tests.training.made import MOMENT
from training.costs import measure_costs
from training.fit import Fitted
from training.rival import compare_with_champion
from training.roles import find_champion

ROWS = 400


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A champion, questions of forty days after its cutoff, and answers that it mostly gets right."""
    workspace = Workspace.at(tmp_path_factory.mktemp("home") / "feature_repo")
    release = publish_small(workspace.releases)
    deployed = Deployed(version="1", digest=release.digest)
    serving = ModelDeployment(champion=deployed)
    write_deployment(workspace.deployment, Deployment(models={"late_parcel": serving}))
    asked = [CUTOFF + timedelta(hours=2.4 * row) for row in range(ROWS)]
    test = golden_table(ROWS).append_column("event_timestamp", pa.array(asked, MOMENT))
    scores = Scorer.load(release).score(test)
    labels = (np.random.default_rng(1).random(ROWS) < scores).astype(float)
    return workspace, test, labels, scores


def compare(world, scores, spec=None):
    workspace, test, labels, _ = world
    champion = find_champion(workspace, "late_parcel")
    return compare_with_champion(
        workspace,
        champion,
        spec or make_spec(),
        test,
        labels=labels,
        scores=scores,
        metrics=["auc", "log_loss"],
        custom={},
    )


def test_a_model_leads_by_nothing_over_itself(world):
    rival = compare(world, world[3])
    assert (rival.version, rival.rows) == ("1", ROWS)
    assert all((lead.value, lead.low, lead.high) == (0, 0, 0) for lead in rival.leads.values())


def test_a_lead_is_positive_for_what_is_better_whichever_way_the_metric_goes(world):
    better = np.clip(0.5 * world[3] + 0.5 * world[2], 0.01, 0.99)
    rival = compare(world, better)
    for metric in ("auc", "log_loss"):
        lead = rival.leads[metric]
        assert 0 < lead.low < lead.value < lead.high
    worse = compare(world, np.random.default_rng(2).random(ROWS))
    assert all(lead.high < 0 for lead in worse.leads.values())


def test_rows_the_champion_may_have_been_fitted_to_are_left_out(world):
    workspace, test, labels, scores = world
    early = (CUTOFF - timedelta(days=20)) - test["event_timestamp"][0].as_py()
    at = test.column_names.index("event_timestamp")
    moved = [when + early for when in test["event_timestamp"].to_pylist()]
    earlier = test.set_column(at, "event_timestamp", pa.array(moved, MOMENT))
    assert compare((workspace, earlier, labels, scores), scores).rows == ROWS // 2
    gone = [when - timedelta(days=90) for when in test["event_timestamp"].to_pylist()]
    seen = test.set_column(at, "event_timestamp", pa.array(gone, MOMENT))
    rival = compare((workspace, seen, labels, scores), scores)
    assert (rival.rows, rival.leads) == (0, {})


def test_a_champion_is_given_the_features_of_its_own_service_where_the_frame_lacks_one(world, monkeypatch):
    workspace, test, labels, scores = world
    asked = []

    def join_again(where, questions, service):
        asked.append((where, questions.column_names, service))
        return test

    monkeypatch.setattr(training.rival, "join_again", join_again)
    questions = test.append_column("depot_id", pa.array(range(ROWS), pa.int64()))
    lacking = questions.drop_columns(["depot__region"])
    assert compare((workspace, questions, labels, scores), scores).leads["auc"].value == 0
    assert asked == []
    assert compare((workspace, lacking, labels, scores), scores).leads["auc"].value == 0
    assert asked == [(workspace, ["depot_id", "event_timestamp", "weight_kg"], "late_parcel")]


def test_no_champion_is_found_before_one_serves_and_none_that_was_changed(world, tmp_path):
    assert find_champion(Workspace.at(tmp_path / "feature_repo"), "late_parcel") is None
    other = Workspace.at(tmp_path / "feature_repo")
    publish_small(other.releases)
    changed = ModelDeployment(champion=Deployed(version="1", digest="0" * 64))
    write_deployment(other.deployment, Deployment(models={"late_parcel": changed}))
    with pytest.raises(ReleaseError, match="digest"):
        find_champion(other, "late_parcel")


def test_costs_are_bytes_and_cpu_time_of_a_row(world):
    model = model_text()
    matrix = np.random.default_rng(3).normal(size=(300, 4))
    found = measure_costs(Fitted(model, 20, {}), matrix, ["size_mb", "latency_us", "size_mb"])
    assert found["size_mb"] == len(model) / 1e6
    assert 0 < found["latency_us"] < 10_000
    assert measure_costs(Fitted(model, 20, {}), matrix, []) == {}
