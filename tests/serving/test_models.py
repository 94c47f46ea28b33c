"""What is deployed is loaded once, kept while it serves, and refused where it answers other requests."""

from dataclasses import replace

import pytest

from knownat.contract.release import Deployed, Deployment, ModelDeployment, write_deployment
from knownat.errors import ReleaseError
from tests.serving.fakes import NOW_US, PLAN, ROW, deploy


def release(version, digest=None):
    return Deployed(version=version, digest=(digest or version) * 64)


class Loads:
    """A service's own way to load releases, which notes what it loads and may change or refuse it."""

    def __init__(self, service, monkeypatch):
        self.models = service.models
        self.root = service.root
        self.done = []
        self.plans = {}
        self.sunsets = {}
        self.refused = set()
        self._load = service.models._load
        monkeypatch.setattr(service.models, "_load", self)

    def __call__(self, model, deployed):
        self.done.append((deployed.version, deployed.digest[0]))
        if deployed.version in self.refused:
            raise ReleaseError("model.txt was changed")
        made = self._load(model, deployed)
        plan = self.plans.get(deployed.version, made.plan)
        return replace(made, plan=plan, sunset_us=self.sunsets.get(deployed.version))

    def deploy(self, champion, **others):
        serving = ModelDeployment(champion=champion, **others)
        write_deployment(self.root / "deployment.json", Deployment(models={"basket": serving}))
        self.models.refresh()
        return self.models.current.get("basket")


@pytest.fixture
def loads(service, monkeypatch):
    return Loads(service, monkeypatch)


def test_what_is_loaded_is_kept_until_its_digest_is_another(loads):
    first = loads.deploy(release("1"), challenger=release("2"), challenger_share=0.1)
    again = loads.deploy(release("2"), challenger=release("1"), challenger_share=0.9, pinned=(release("1"),))
    other = loads.deploy(release("2", digest="3"))

    assert loads.done == [("1", "1"), ("2", "2"), ("2", "3")]
    assert (again.champion, again.challenger, again.pinned) == (
        first.challenger,
        first.champion,
        (first.champion,),
    )
    assert other.champion is not again.champion


@pytest.mark.parametrize("role", ["challenger", "shadow"])
def test_a_version_of_other_requests_answers_none_of_the_champions(loads, role):
    loads.plans["2"] = PLAN.model_copy(update={"nullable_inputs": ()})
    others = {"challenger": release("2")} if role == "challenger" else {"shadow": (release("2"),)}

    lineup = loads.deploy(release("1"), challenger_share=0.5 * (role == "challenger"), **others)

    assert [model.version for model in lineup.models] == ["1"]
    assert loads.models.problems == {
        "basket 2": "version 2 is refused: it asks for other keys or inputs than the champion, so it cannot "
        "answer the same requests. Promote it with --role pinned."
    }
    assert [model.version for model in loads.deploy(release("1"), pinned=(release("2"),)).models] == [
        "1",
        "2",
    ]


def test_a_version_past_its_sunset_points_to_the_champion_until_that_ones_own(service, loads):
    loads.sunsets = {"1": NOW_US + 10, "2": NOW_US}
    loads.deploy(release("1"), pinned=(release("2"),))

    def pointed_to():
        answer = service.ask("POST", "/v1/models/basket/versions/2/predict", json=ROW)
        return answer.status_code, answer.json()["error"]["details"]

    before = pointed_to()
    service.clock.move_to(NOW_US + 10)

    assert before == (410, [{"successor": "/v1/models/basket/predict", "version": "1"}])
    assert pointed_to() == (410, [])


def test_a_model_none_of_whose_versions_can_be_loaded_is_missing_and_told(service, loads):
    loads.refused = {"1"}

    write_deployment(
        service.root / "deployment.json",
        Deployment(models={"basket": ModelDeployment(champion=release("0")),
                           "churn": ModelDeployment(champion=release("1"))}),
    )  # fmt: skip
    service.models.refresh()
    ready = service.ask("GET", "/health/ready")

    assert set(service.models.current) == {"basket"}
    assert service.models.missing == {"churn"}
    assert (ready.status_code, ready.json()["refused"]) == (
        503,
        {"churn": "version 1 is refused: model.txt was changed"},
    )
    assert service.predict().status_code == 200


def test_a_file_that_breaks_is_told_beside_what_was_refused_before(service, loads):
    loads.refused = {"9"}
    deploy(service.root, version="9")
    service.models.refresh()
    (service.root / "deployment.json").write_text("{")
    service.models.refresh()

    assert set(service.models.problems) == {"basket", "deployment"}
