"""Several versions at once: who answers, who only watches, who is gone."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from knownat.clock import from_us, to_us
from knownat.contract.log_reader import read_predictions
from knownat.contract.release import Deployed, Deployment, ModelDeployment, write_deployment
from knownat.errors import ReleaseError
from serving.decoding import OneQuestion
from serving.lineup import refuse_other_requests
from tests.serving.fakes import INPUTS, NOW_US, PLAN, ROW, build_service

ALWAYS = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}
DAY_US = 86_400_000_000


def release(version):
    return Deployed(version=version, digest=version[0] * 64)


def deploy(service, *, retired=(), **roles):
    serving = ModelDeployment(champion=release(roles.pop("champion", "1")), **roles)
    models = {} if "basket" in retired else {"basket": serving}
    write_deployment(service.root / "deployment.json", Deployment(models=models, retired=retired))
    service.models.refresh()


def asked(service, customer, path="/v1/models/basket/predict"):
    body = {"keys": {"customer_id": customer, "sku": "A-1"}, "inputs": INPUTS}
    return service.ask("POST", path, json=body)


def named(service, version):
    return asked(service, 1, f"/v1/models/basket/versions/{version}/predict")


def roles(service):
    log = read_predictions(service.root / "predictions", "basket", **ALWAYS)
    return sorted(zip(log["version"].to_pylist(), log["role"].to_pylist(), strict=True))


def test_the_challenger_answers_its_share_and_always_the_same_entities(service):
    deploy(service, challenger=release("2"), challenger_share=0.3)

    first = [asked(service, customer).json()["version"] for customer in range(400)]
    again = [asked(service, customer).json()["version"] for customer in range(400)]

    assert first == again
    assert 80 < first.count("2") < 160  # 120 expected; six standard deviations are 55
    assert {role for _, role in roles(service)} == {"champion", "challenger"}
    assert {("1", "challenger"), ("2", "champion")}.isdisjoint(roles(service))


@pytest.mark.parametrize(("share", "version"), [(0.0, "1"), (1.0, "2")])
def test_a_share_of_nothing_or_all_is_that(service, share, version):
    deploy(service, challenger=release("2"), challenger_share=share)

    assert {asked(service, customer).json()["version"] for customer in range(40)} == {version}


def test_two_models_try_their_challengers_on_other_entities(service):
    deploy(service, challenger=release("2"), challenger_share=0.5)
    one = service.models.current["basket"]
    other = replace(one, name="churn")
    questions = [OneQuestion("r", {"customer_id": customer}, []) for customer in range(40)]

    roles = [{lineup.choose(question)[1] for lineup in (one, other)} for question in questions]

    assert any(len(both) == 2 for both in roles)


def test_one_row_meets_the_same_version_in_either_shape(service):
    deploy(service, challenger=release("2"), challenger_share=0.5)

    for customer in range(30):
        row = {"keys": {"customer_id": customer, "sku": "A-1"}, "inputs": INPUTS}
        versions = {service.predict(body).json()["version"] for body in (row, {"rows": [row]})}
        assert len(versions) == 1


def test_a_version_can_be_asked_for_by_name(service):
    deploy(service, challenger=release("2"), shadow=(release("3"),), pinned=(release("4"),))

    answers = {version: named(service, version) for version in "1234"}

    assert {v: a.json()["version"] for v, a in answers.items()} == {v: v for v in "1234"}
    assert roles(service) == [(version, "pinned") for version in "1234"]
    unknown = named(service, "9")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["message"] == (
        "No such version of 'basket' is served; there are ['1', '2', '3', '4']."
    )


def test_what_was_retired_points_to_what_serves(service):
    serving = ModelDeployment(champion=release("2"), retired=("1",))
    write_deployment(service.root / "deployment.json", Deployment(models={"basket": serving}))
    service.models.refresh()

    answer = named(service, "1")

    assert answer.status_code == 410
    assert answer.json()["error"] == {
        "code": "gone",
        "message": "That version of 'basket' was retired. Version 2 serves at /v1/models/basket/predict.",
        "details": [{"successor": "/v1/models/basket/predict", "version": "2"}],
    }
    assert answer.headers["link"] == '</v1/models/basket/predict>; rel="successor-version"'


def test_a_retired_model_is_gone_and_not_unknown(service):
    deploy(service, retired=("basket",))

    assert service.predict().status_code == 410
    assert service.ask("POST", "/v1/models/other/predict", json=ROW).status_code == 404
    assert service.ask("GET", "/health/ready").status_code == 503


def test_a_sunset_is_told_before_and_kept_after(tmp_path):
    sunset = from_us(NOW_US + DAY_US)
    service = build_service(tmp_path, sunset=sunset)

    before = service.predict()
    service.clock.move_to(to_us(sunset) - 1)
    last = service.predict()
    service.clock.move_to(to_us(sunset))
    after = service.predict()
    service.book.close()

    assert before.headers["sunset"] == "Wed, 16 Oct 2013 12:00:00 GMT"
    assert before.headers["link"] == '</v1/models/basket/predict>; rel="successor-version"'
    assert (last.status_code, after.status_code) == (200, 410)
    assert after.json()["error"]["message"] == (
        "Version 1 of 'basket' was to be used until its sunset. Nothing has taken its place."
    )
    assert len(roles(service)) == 2


def test_shadows_score_what_others_answered_and_are_logged_as_such(service):
    deploy(service, challenger=release("2"), challenger_share=0.5, shadow=(release("3"), release("4")))

    answered = [asked(service, customer).json() for customer in range(20)]
    many = service.predict({"rows": [ROW] * 30}).json()
    named(service, "1")
    service.shadows_done()

    log = read_predictions(service.root / "predictions", "basket", **ALWAYS).to_pylist()
    by_role = {}
    for row in log:
        by_role.setdefault((row["version"], row["role"]), []).append(row)
    assert {a["version"] for a in answered} == {"1", "2"}
    for version in "34":
        shadow = by_role.pop((version, "shadow"))
        assert len(shadow) == 20 + 30
        assert {row["request_id"] for row in shadow} == {a["request_id"] for a in [*answered, many]}
    assert {role for _, role in by_role} == {"champion", "challenger", "pinned"}
    told = service.ask_admin("GET", "/metrics").text
    assert 'knownat_shadow_predictions_total{model="basket",version="3"} 50.0' in told
    assert 'knownat_predictions_total{degraded="false",model="basket",version="3"} 0.0' in told


def test_a_shadow_that_hangs_delays_no_answer_and_what_it_misses_is_counted(service, monkeypatch):
    let_go = threading.Event()
    deploy(service, shadow=(release("3"),))
    shadow = service.models.current["basket"].shadows[0]
    many = shadow.features.many
    monkeypatch.setattr(
        shadow.features, "many", lambda keys, now_us: (let_go.wait(30), many(keys, now_us))[1]
    )

    answers = [asked(service, customer).status_code for customer in range(1_020)]
    let_go.set()
    service.shadows_done()

    assert set(answers) == {200}
    # One was taken and a thousand waited; the others found no room.
    shadows = [version for version, role in roles(service) if role == "shadow"]
    assert len(shadows) == 1_001
    assert 'knownat_shadow_dropped_total{model="basket"} 19.0' in service.ask_admin("GET", "/metrics").text


def test_a_shadow_that_fails_is_counted_and_nobody_else_notices(service, monkeypatch):
    deploy(service, shadow=(release("3"),))
    shadow = service.models.current["basket"].shadows[0]

    def fail(keys, now_us):
        raise ReleaseError("broken")

    monkeypatch.setattr(shadow.features, "many", fail)
    assert service.predict().status_code == 200
    service.shadows_done()

    assert 'knownat_shadow_failed_total{model="basket"} 1.0' in service.ask_admin("GET", "/metrics").text


def test_a_version_beside_the_champion_must_take_the_same_requests():
    fewer = PLAN.model_copy(update={"nullable_inputs": ()})
    renamed = PLAN.model_copy(update={"request_inputs": PLAN.request_inputs[1:]})
    keyless = PLAN.model_copy(update={"views": PLAN.views[:1]})

    refuse_other_requests(PLAN, PLAN)
    refuse_other_requests(fewer, PLAN)
    for champion, other in ((PLAN, fewer), (PLAN, renamed), (renamed, PLAN), (PLAN, keyless)):
        with pytest.raises(ReleaseError, match="--role pinned"):
            refuse_other_requests(champion, other)


def test_a_version_that_cannot_be_loaded_leaves_the_others(service, monkeypatch):
    load = service.models._load

    def picky(model, deployed):
        if deployed.version == "bad":
            raise ReleaseError("model.txt was changed")
        return load(model, deployed)

    monkeypatch.setattr(service.models, "_load", picky)
    deploy(service, challenger=release("bad"), shadow=(release("3"),), challenger_share=1.0)

    assert asked(service, 1).json()["version"] == "1"
    assert service.models.problems == {"basket bad": "version bad is refused: model.txt was changed"}
    assert service.ask("GET", "/health/ready").status_code == 200
    assert [m.version for m in service.models.current["basket"].models] == ["1", "3"]
