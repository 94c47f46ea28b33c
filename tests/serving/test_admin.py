"""What operators ask on a port of their own: told by name, and nothing of what went wrong inside."""

import asyncio

import httpx
import pytest

from serving.keys import Scope, add_key
from tests.serving.fakes import NOW_US, ROW, build_service

INTERNAL = {"code": "internal", "message": "The scorer failed; its log says why.", "details": []}


def test_an_error_without_a_name_tells_operators_nothing_of_itself(service, monkeypatch):
    def fail():
        raise RuntimeError("canary-secret")

    monkeypatch.setattr(service.models, "refresh", fail)

    answer = service.ask_admin("POST", "/v1/refresh")

    assert (answer.status_code, answer.json()) == (500, {"error": INTERNAL})


def test_an_error_without_a_name_tells_callers_nothing_of_itself(service, monkeypatch):
    monkeypatch.setattr(service.models, "current", None)

    answer = service.ask("GET", "/health/ready")

    assert (answer.status_code, answer.json()) == (500, {"error": INTERNAL})


def test_a_refresh_takes_up_keys_and_says_what_was_not_taken(tmp_path):
    keys = tmp_path / "keys.json"
    _, operator = add_key(keys, "operator", frozenset({Scope.ADMIN}), now_us=NOW_US, days=None)
    service = build_service(tmp_path, keys=keys)

    def refreshed():
        return service.ask_admin("POST", "/v1/refresh", headers={"x-api-key": operator}).json()

    _, caller = add_key(keys, "shop", frozenset({Scope.PREDICT}), now_us=NOW_US, days=None)
    before = service.predict(json=ROW, headers={"x-api-key": caller}).status_code
    taken = refreshed()
    after = service.predict(json=ROW, headers={"x-api-key": caller}).status_code
    keys.write_text("{")
    (tmp_path / "deployment.json").write_text("{")
    told = refreshed()
    service.book.close()

    assert (before, after) == (401, 200)
    assert taken == {"models": {"basket": "1"}, "refused": {}, "keys": "taken"}
    assert (told["models"], told["keys"]) == ({"basket": "1"}, "the file is not as it was written")
    assert "cannot be read as a deployment" in told["refused"]["deployment"]


def test_a_refusal_is_no_failure_of_the_scorer(service):
    async def go():
        # Whatever the app raises after its answer would be raised here.
        transport = httpx.ASGITransport(app=service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://scorer") as client:
            return await client.post("/v1/labels", json={})

    assert asyncio.run(go()).status_code == 422


def test_a_parameter_that_does_not_fit_its_route_is_refused_and_not_repeated(service):
    @service.app.get("/counted/{number}")
    async def counted(number: int) -> int:
        return number

    answer = service.ask("GET", "/counted/canary-secret")

    assert (answer.status_code, answer.json()["error"]["details"]) == (422, [])
    assert "canary" not in answer.text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/metrics"])
def test_callers_find_no_page_that_loads_scripts_from_elsewhere_and_no_metrics(service, path):
    assert service.ask("GET", path).status_code == 404


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_operators_and_balancers_may_look_there(service, path):
    assert service.ask_admin("GET", path).status_code == 200


def test_operators_alone_may_ask_there_for_a_refresh(service):
    assert service.ask("POST", "/v1/refresh").status_code == 404
    assert service.ask_admin("POST", "/v1/refresh").json()["models"] == {"basket": "1"}
