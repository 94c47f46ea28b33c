from datetime import timedelta

import pytest
from mlflow.tracking import MlflowClient

from knownat.contract.release import Deployed, Deployment, ModelDeployment, write_deployment
from knownat.contract.workspace import Workspace
from tests.scoring.small_release import CUTOFF, publish_small
from training.registry import Registry, synchronise

MODEL = "late_parcel"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """MLflow's tables take seconds to make; every test gets a copy of empty ones."""
    workspace = Workspace.at(tmp_path_factory.mktemp("empty") / "feature_repo")
    Registry.open(workspace).versions(MODEL)
    return (workspace.home / "mlflow" / "mlflow.db").read_bytes()


@pytest.fixture
def workspace(tmp_path, database, monkeypatch) -> Workspace:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").write_bytes(database)
    return Workspace.at(tmp_path / "feature_repo")


def publish(workspace, version="1", **changes):
    created = CUTOFF + timedelta(days=int(version))
    return publish_small(workspace.releases, version, created_at=created, **changes)


def client(workspace):
    uri = f"sqlite:///{workspace.home / 'mlflow' / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def deploy(workspace, champion, challenger=None):
    def named(release):
        return release and Deployed(version=release.manifest.version, digest=release.digest)

    serving = ModelDeployment(champion=named(champion), challenger=named(challenger))
    write_deployment(workspace.deployment, Deployment(models={MODEL: serving}))


def test_a_release_becomes_a_run_with_what_it_was_made_of_and_how_good_it_is(workspace):
    learning = '{"binary_logloss": [0.6, 0.5, 0.55]}'
    release = publish(workspace, files={"learning.json": learning, "card.html": "<p>card</p>"})
    synchronise(workspace)
    seen = client(workspace)
    (version,) = seen.search_model_versions(f"name = '{MODEL}'")
    run = seen.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["auc"] == 0.8
    assert (run.data.metrics["auc.low"], run.data.metrics["auc.high"]) == (0.7, 0.9)
    assert run.data.params["rounds"] == "20"
    assert run.data.tags["knownat.digest"] == version.tags["knownat.digest"] == release.digest
    steps = seen.get_metric_history(version.run_id, "validation.binary_logloss")
    assert [(m.step, m.value) for m in steps] == [(1, 0.6), (2, 0.5), (3, 0.55)]
    lineage = {each.dataset.name for each in run.inputs.dataset_inputs}
    assert lineage == {"depot", "questions of late_parcel"}
    artifacts = {a.path for folder in ("", "plots") for a in seen.list_artifacts(version.run_id, folder)}
    assert {"card.html", "manifest.json", "plots/learning.svg"} <= artifacts
    assert version.source == release.path.as_uri()


def test_recording_again_changes_nothing(workspace):
    publish(workspace)
    synchronise(workspace)
    synchronise(workspace)
    seen = client(workspace)
    assert len(seen.search_model_versions(f"name = '{MODEL}'")) == 1
    (experiment,) = [e for e in seen.search_experiments() if e.name == MODEL]
    assert len(seen.search_runs([experiment.experiment_id])) == 1


def test_a_record_that_was_missed_is_made_up_for_in_order(workspace):
    for version in ("1", "2", "10"):
        publish(workspace, version)
    synchronise(workspace)
    assert Registry.open(workspace).versions(MODEL) == ["1", "2", "10"]


def test_half_a_release_is_not_recorded(workspace):
    publish(workspace)
    staged = workspace.releases / MODEL / ".2.0a1b2c3d"
    staged.mkdir()
    (staged / "manifest.json").write_text("{")
    (workspace.releases / MODEL / "3").mkdir()
    synchronise(workspace)
    assert Registry.open(workspace).versions(MODEL) == ["1"]


def test_a_record_that_was_cut_short_is_taken_back_and_made_anew(workspace):
    release = publish(workspace)
    seen = client(workspace)
    experiment = seen.create_experiment(MODEL)
    tags = {"knownat.digest": release.digest, "knownat.version": "1"}
    half = seen.create_run(experiment, tags=tags).info.run_id
    assert Registry.open(workspace).unfinished(MODEL) == ["1"]
    synchronise(workspace)
    (run,) = seen.search_runs([experiment])
    assert (run.info.status, run.info.run_id == half) == ("FINISHED", False)
    assert Registry.open(workspace).unfinished(MODEL) == []


def test_aliases_follow_what_serves(workspace):
    one, two = publish(workspace, "1"), publish(workspace, "2")
    registry = Registry.open(workspace)
    deploy(workspace, one, two)
    synchronise(workspace)
    assert (registry.alias(MODEL, "champion"), registry.alias(MODEL, "challenger")) == ("1", "2")
    deploy(workspace, two)
    synchronise(workspace)
    assert (registry.alias(MODEL, "champion"), registry.alias(MODEL, "challenger")) == ("2", None)


def test_any_server_may_keep_the_record(workspace, tmp_path, database, monkeypatch):
    other = tmp_path / "other.db"
    other.write_bytes(database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    monkeypatch.chdir(tmp_path)
    publish(workspace)
    synchronise(workspace)
    assert Registry.open(workspace).versions(MODEL) == ["1"]
    assert client(workspace).search_model_versions(f"name = '{MODEL}'") == []
