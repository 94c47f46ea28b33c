"""Who may call what: keys, scopes, rates, and what an outsider learns."""

import pytest

from knownat.errors import ConfigError
from serving.access import Access
from serving.keys import Scope, add_key, revoke_key
from tests.serving.fakes import NOW_US, ROW, build_service

DAY_US = 86_400_000_000
PATHS = {
    Scope.PREDICT: "/v1/models/basket/predict",
    Scope.LABEL: "/v1/labels",
}


def made(path, *scopes, days=None, rate=None):
    _, text = add_key(path, "caller", frozenset(scopes), now_us=NOW_US, days=days, requests_per_second=rate)
    return text


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def guarded(tmp_path, keys):
    built = build_service(tmp_path, keys=keys_with(keys))
    yield built
    built.book.close()


def keys_with(path):
    made(path, Scope.ADMIN)
    return path


def post(service, path, key=None, header="bearer", body=ROW):
    headers = {"bearer": {"authorization": f"Bearer {key}"}, "own": {"x-api-key": str(key)}}[header]
    return service.ask("POST", path, json=body, headers=headers if key is not None else {})


def test_a_key_opens_what_its_scopes_name_and_nothing_else(guarded, keys):
    allowed = {scope: made(keys, scope) for scope in Scope}
    guarded.parts.access.refresh()

    for needed, path in PATHS.items():
        statuses = {scope: post(guarded, path, key).status_code for scope, key in allowed.items()}
        assert statuses.pop(needed) in {200, 422}
        assert set(statuses.values()) == {403}


@pytest.mark.parametrize("header", ["bearer", "own"])
def test_a_key_may_come_in_either_header(guarded, keys, header):
    key = made(keys, Scope.PREDICT)
    guarded.parts.access.refresh()

    assert post(guarded, PATHS[Scope.PREDICT], key, header).status_code == 200


@pytest.mark.parametrize("key", [None, "", "kna", "kna_ffffffff_x", "kna__", "é", "x" * 10_000, "Bearer"])
@pytest.mark.parametrize("path", [*PATHS.values(), "/v1/models/no-such-model/predict"])
def test_without_a_good_key_nothing_is_learned(guarded, path, key):
    encoded = None if key is None else key.encode("latin-1").decode("latin-1")
    headers = {} if key is None else {"authorization": f"Bearer {encoded}".encode("latin-1")}
    answer = guarded.ask("POST", path, json=ROW, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "unauthenticated"
    assert "basket" not in answer.text
    assert guarded.book.counts()["basket/1"].accepted == 0


@pytest.mark.parametrize(("word", "status"), [("Bearer", 200), ("bearer", 200), ("Nearer", 401)])
def test_a_key_comes_behind_its_word_in_any_case(guarded, keys, word, status):
    key = made(keys, Scope.PREDICT)
    guarded.parts.access.refresh()

    answer = guarded.ask("POST", PATHS[Scope.PREDICT], json=ROW, headers={"authorization": f"{word} {key}"})

    assert answer.status_code == status


def test_another_keys_secret_under_a_known_id_is_refused(guarded, keys):
    first, second = made(keys, Scope.PREDICT), made(keys, Scope.PREDICT)
    guarded.parts.access.refresh()
    mixed = "_".join([*first.split("_")[:2], second.split("_", 2)[2]])

    assert post(guarded, PATHS[Scope.PREDICT], mixed).status_code == 401


def test_keys_are_taken_up_and_dropped_while_it_runs(guarded, keys):
    old = made(keys, Scope.PREDICT, days=1)
    assert post(guarded, PATHS[Scope.PREDICT], old).status_code == 401
    guarded.parts.access.refresh()
    assert post(guarded, PATHS[Scope.PREDICT], old).status_code == 200

    new = made(keys, Scope.PREDICT)
    guarded.parts.access.refresh()
    assert [post(guarded, PATHS[Scope.PREDICT], key).status_code for key in (old, new)] == [200, 200]

    guarded.clock.move_to(NOW_US + DAY_US)
    assert [post(guarded, PATHS[Scope.PREDICT], key).status_code for key in (old, new)] == [401, 200]

    revoke_key(keys, new.split("_")[1], now_us=NOW_US)
    guarded.parts.access.refresh()
    assert post(guarded, PATHS[Scope.PREDICT], new).status_code == 401


@pytest.mark.parametrize("content", [None, "", "{", '{"format": 1, "keys": []}'], ids=repr)
def test_a_file_that_breaks_or_vanishes_opens_and_shuts_nothing(guarded, keys, content, caplog):
    key = made(keys, Scope.PREDICT)
    guarded.parts.access.refresh()
    keys.unlink() if content is None else keys.write_text(content)

    assert guarded.parts.access.refresh()
    assert post(guarded, PATHS[Scope.PREDICT], key).status_code == 200
    assert post(guarded, PATHS[Scope.PREDICT]).status_code == 401
    assert guarded.parts.access.problem is not None
    assert "the keys before it still hold" in caplog.text


def test_a_scorer_that_nobody_could_call_does_not_start(tmp_path, keys):
    text = made(keys, Scope.PREDICT)
    revoke_key(keys, text.split("_")[1], now_us=NOW_US)

    with pytest.raises(ConfigError, match="no key that is good now"):
        build_service(tmp_path, keys=keys)


def test_a_caller_that_asks_too_often_is_told_when_to_come_again(guarded, keys, monkeypatch):
    seconds = [100]
    monkeypatch.setattr("time.monotonic_ns", lambda: seconds[0] * 1_000_000_000)
    twice, half = made(keys, Scope.PREDICT, rate=2), made(keys, Scope.PREDICT, rate=0.5)
    guarded.parts.access.refresh()

    def asked(key):
        return post(guarded, PATHS[Scope.PREDICT], key)

    assert [asked(twice).status_code for _ in range(4)] == [200, 200, 429, 429]
    assert asked(twice).headers["retry-after"] == "1"
    assert [asked(half).status_code for _ in range(2)] == [200, 429]
    seconds[0] += 1
    assert [asked(twice).status_code for _ in range(3)] == [200, 200, 429]
    assert asked(half).status_code == 429
    seconds[0] += 1
    assert asked(half).status_code == 200
    seconds[0] += 100  # what was not asked is not saved up
    assert [asked(twice).status_code for _ in range(3)] == [200, 200, 429]


def test_health_needs_no_key_and_operators_do(guarded, keys):
    admin = made(keys, Scope.ADMIN)
    caller = made(keys, Scope.PREDICT)
    guarded.parts.access.refresh()

    def refresh(key):
        return guarded.ask_admin("POST", "/v1/refresh", headers={"x-api-key": key})

    assert guarded.ask("GET", "/health/ready").status_code == 200
    assert guarded.ask("GET", "/metrics").status_code == 404
    assert guarded.ask_admin("GET", "/metrics").status_code == 200
    assert refresh(caller).status_code == 403
    assert guarded.ask_admin("POST", "/v1/refresh").status_code == 401
    assert refresh(admin).json() == {"models": {"basket": "1"}, "refused": {}, "keys": "taken"}


def test_without_a_file_everyone_may_call(tmp_path, service):
    access = Access(None, service.clock)

    access.admit([], Scope.PREDICT)
    assert not access.refresh()


def test_the_description_says_where_a_key_is_asked_for(guarded, tmp_path):
    open_to_all = build_service(tmp_path / "open")
    paths = guarded.ask("GET", "/openapi.json").json()["paths"]
    unguarded = open_to_all.ask("GET", "/openapi.json").json()
    open_to_all.book.close()

    asked = {path for path, methods in paths.items() if all("security" in one for one in methods.values())}
    assert paths.keys() - asked == {"/health/live", "/health/ready"}
    assert "securitySchemes" not in unguarded["components"]
