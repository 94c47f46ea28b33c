"""Retiring refuses while somebody asks, says who, and points callers on."""

import fcntl
import json
from datetime import timedelta

import pytest

from knownat.clock import from_us
from knownat.contract.deployment import HISTORY
from knownat.contract.release import (
    Deployed,
    Deployment,
    ModelDeployment,
    read_deployment,
    write_deployment,
)
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from serving import retirement
from serving.retirement import retire
from tests.serving.fakes import NOW_US, ROW

NOW = from_us(NOW_US)
HOUR = timedelta(hours=1)
ONE, TWO, THREE = (Deployed(version=v, digest=v * 64) for v in "123")
SERVING = ModelDeployment(champion=ONE, challenger=TWO, challenger_share=0.0, shadow=(THREE,), pinned=())


@pytest.fixture
def workspace(service):
    """The service's own log and releases, as a workspace."""
    found = Workspace.at(service.root / "repo")
    write_deployment(found.deployment, Deployment(models={"basket": SERVING, "other": SERVING}))
    write_deployment(service.root / "deployment.json", Deployment(models={"basket": SERVING}))
    service.models.refresh()
    return found


def test_a_version_that_nobody_asks_for_is_retired(service, workspace):
    service.predict()
    service.shadows_done()

    after = retire(workspace, "basket", "2", now=NOW, quiet=HOUR, reason="lost")
    retire(workspace, "basket", "3", now=NOW, quiet=HOUR)  # its shadow rows are no traffic

    assert after.models["basket"].versions == ["1", "3"]
    assert read_deployment(workspace.deployment).models["basket"] == ModelDeployment(
        champion=ONE, challenger_share=0.0, retired=("2", "3")
    )
    lines = [json.loads(line) for line in (workspace.releases / HISTORY).read_text().splitlines()]
    said = {"at": NOW.isoformat(), "model": "basket", "version": "2", "role": "retired", "reason": "lost"}
    assert lines[0].items() >= {**said, "number": 1, "found_champion": "1"}.items()


def test_a_version_that_is_asked_for_is_not(service, workspace):
    service.ask("POST", "/v1/models/basket/versions/2/predict", json={"rows": [ROW] * 3})

    with pytest.raises(ReleaseError, match=r"answered 3 rows since .* the last at 12:00:00Z.*--force"):
        retire(workspace, "basket", "2", now=NOW, quiet=HOUR)
    assert read_deployment(workspace.deployment).models["basket"] == SERVING
    assert not (workspace.releases / HISTORY).exists()

    later = NOW + HOUR + timedelta(seconds=1)
    assert "2" not in retire(workspace, "basket", "2", now=later, quiet=HOUR).models["basket"].versions


def test_nothing_else_is_promoted_while_its_traffic_is_looked_at(workspace, monkeypatch):
    meanwhile = []
    look = retirement.traffic

    def looked(*given, **named):
        with (workspace.releases / ".promotion.lock").open("r+") as lock:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            meanwhile.append("nobody else changes what serves")
        return look(*given, **named)

    monkeypatch.setattr(retirement, "traffic", looked)
    retire(workspace, "basket", "2", now=NOW, quiet=HOUR)

    assert meanwhile == ["nobody else changes what serves"]


@pytest.mark.parametrize("left", ["half a line more", "no line"])
def test_the_history_is_whole_again_after_a_writer_that_was_killed(workspace, left):
    retire(workspace, "basket", "2", now=NOW, quiet=HOUR)
    history = workspace.releases / HISTORY
    history.write_text(history.read_text() + '{"at": "2013' if left == "half a line more" else "")

    retire(workspace, "basket", "3", now=NOW, quiet=HOUR)

    lines = [json.loads(line) for line in history.read_text().splitlines()]
    assert [(line["number"], line["version"]) for line in lines] == [(1, "2"), (2, "3")]


def test_force_retires_it_all_the_same(service, workspace):
    service.ask("POST", "/v1/models/basket/versions/2/predict", json=ROW)

    retire(workspace, "basket", "2", now=NOW, quiet=HOUR, force=True)

    assert read_deployment(workspace.deployment).models["basket"].challenger is None


def test_a_version_that_came_back_is_retired_once(workspace):
    back = ModelDeployment(champion=ONE, pinned=(TWO,), retired=("2", "3"))
    write_deployment(workspace.deployment, Deployment(models={"basket": back}))

    assert retire(workspace, "basket", "2", now=NOW, quiet=HOUR).models["basket"].retired == ("3", "2")


def test_the_champion_goes_only_with_its_model(service, workspace):
    with pytest.raises(ReleaseError, match="is the champion"):
        retire(workspace, "basket", "1", now=NOW, quiet=HOUR, force=True)
    service.predict()
    with pytest.raises(ReleaseError, match="'basket' answered 1 rows"):
        retire(workspace, "basket", None, now=NOW, quiet=HOUR)

    after = retire(workspace, "basket", None, now=NOW, quiet=HOUR, force=True)

    assert (list(after.models), after.retired) == (["other"], ("basket",))


@pytest.mark.parametrize(("model", "version"), [("basket", "9"), ("nothing", "1"), ("nothing", None)])
def test_what_does_not_serve_cannot_be_retired(workspace, model, version):
    with pytest.raises(ReleaseError, match="serve"):
        retire(workspace, model, version, now=NOW, quiet=HOUR, force=True)
