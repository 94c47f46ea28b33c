"""What stands in for features that cannot be had: by the model's choice, never silently, always in time."""

import threading

import pytest

from knownat.contract.log_reader import read_predictions
from knownat.contract.prediction_log import Role
from knownat.contract.read_plan import ReadResult, Status
from knownat.errors import CorruptRow
from serving.errors import DeadlineExceeded, Overloaded, StoreUnavailable
from serving.lanes import Claim
from serving.predictions import Answering, Moment
from serving.pressure import AHEAD, Pressure
from serving.questions import Question
from serving.reading import ReadFailed
from serving.stored_features import StoredFeatures
from tests.serving.fakes import INPUTS, KEYS, MINUTE_US, NOW_US, PLAN, ROW, InMemoryFeatures, build_service
from tests.serving.test_lineup import ALWAYS

UNAVAILABLE = {"status": "unavailable", "age_seconds": None}
DOWN = ConnectionRefusedError("secret-host:6379")


def served(tmp_path, policy):
    return build_service(tmp_path, serving={"when_store_fails": policy})


def only(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]


@pytest.mark.parametrize("policy", ["refuse", "last_known"])
def test_with_nothing_to_put_in_their_place_there_is_no_answer(tmp_path, policy):
    service = served(tmp_path, policy)
    service.reader.failure = DOWN

    for body in (ROW, {"rows": [ROW] * 30}):
        answer = service.predict(body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        assert answer.headers["retry-after"] == "1"
        assert "secret-host" not in answer.text
    assert service.book.counts()["basket/1"].accepted == 0


def test_what_keeps_features_from_being_read_is_told_once_until_it_is_another(tmp_path, caplog):
    service = served(tmp_path, "nulls")
    features = service.models.current["basket"].champion.features
    for failure in (DOWN, DOWN, OSError(5), DOWN):
        service.reader.failure = failure
        features._ask_again_at = None  # Its rest is over.
        service.predict({"rows": [ROW] * 30})

    told = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert told == ["ConnectionRefusedError", "OSError", "ConnectionRefusedError"]
    assert "secret-host" not in caplog.text


def test_nulls_answer_from_what_is_left_and_say_so(tmp_path):
    service = served(tmp_path, "nulls")
    service.reader.failure = DOWN

    alone, many = service.predict(ROW), service.predict({"rows": [ROW] * 30})

    for prediction in (only(alone), *many.json()["predictions"]):
        assert prediction["score"] == 0.25  # the request's own discount
        assert prediction["degraded"] is True
        assert prediction["views"] == {"customer_orders": UNAVAILABLE, "product": UNAVAILABLE}
    log = read_predictions(tmp_path / "predictions", "basket", **ALWAYS)
    assert log["degraded"].to_pylist() == [True] * 31
    assert set(log["served__product__status"].to_pylist()) == {"unavailable"}
    assert log["product__price"].null_count == 31
    told = service.ask_admin("GET", "/metrics").text
    assert 'knownat_store_failures_total{model="basket",version="1"} 31.0' in told
    assert 'knownat_predictions_total{degraded="true",model="basket",version="1"} 31.0' in told


def test_the_last_known_row_answers_while_its_ttl_holds(tmp_path):
    service = served(tmp_path, "last_known")
    before = only(service.predict(ROW))
    service.reader.failure = DOWN

    during = only(service.predict(ROW))
    many = service.predict({"rows": [ROW] * 30})
    service.clock.move_to(NOW_US + 55 * MINUTE_US)
    last = only(service.predict(ROW))
    service.clock.move_to(NOW_US + 56 * MINUTE_US)
    later = only(service.predict(ROW))
    other = service.predict({"keys": {**KEYS, "customer_id": 10}, "inputs": INPUTS})

    assert not before["degraded"]
    assert (during["score"], during["degraded"]) == (before["score"], True)
    assert during["views"] == {
        "customer_orders": {"status": "last_known", "age_seconds": 300.0},
        "product": {"status": "last_known", "age_seconds": 5400.0},
    }
    assert [p["score"] for p in many.json()["predictions"]] == [before["score"]] * 30
    assert last["views"]["customer_orders"] == {"status": "last_known", "age_seconds": 3600.0}
    assert later["views"]["customer_orders"] == UNAVAILABLE
    assert later["views"]["product"]["status"] == "last_known"
    assert other.status_code == 503


def test_who_is_to_be_refused_is_remembered_by_nobody(tmp_path):
    service = served(tmp_path, "refuse")
    assert not only(service.predict(ROW))["degraded"]
    service.reader.failure = DOWN

    assert service.predict(ROW).status_code == 503


def test_what_was_not_there_before_cannot_be_told_now(tmp_path):
    service = served(tmp_path, "last_known")
    body = {"keys": {"customer_id": 7, "sku": "nothing"}, "inputs": INPUTS}
    assert only(service.predict(body))["views"]["customer_orders"]["status"] == "expired"
    service.reader.failure = DOWN

    assert only(service.predict(body))["views"] == {"customer_orders": UNAVAILABLE, "product": UNAVAILABLE}


class Failing:
    """Features that fail when told to, and count how often they were asked."""

    waits = False

    def __init__(self):
        self.asked = 0
        self.failure = None

    async def one(self, keys, now_us, seconds):
        raise AssertionError

    def many(self, keys, now_us):
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return InMemoryFeatures().read(keys, now_us)


def test_a_store_that_is_down_is_asked_now_and_then_and_taken_up_at_once(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("serving.stored_features.time.monotonic", lambda: now[0])
    inner = Failing()
    features = StoredFeatures("basket", PLAN, inner, "refuse")
    keys = {name: [value] for name, value in KEYS.items()}

    inner.failure = ReadFailed("no answer in time", store=True)
    for _ in range(50):
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            features.many(keys, NOW_US)
    assert (inner.asked, features.failures) == (1, 50)

    now[0] += 0.26
    inner.failure = None
    assert features.many(keys, NOW_US).status["product"] == [Status.PRESENT]
    assert features.many(keys, NOW_US).status["product"] == [Status.PRESENT]
    assert inner.asked == 3


def test_a_row_that_cannot_be_trusted_costs_no_other_row_its_features(monkeypatch):
    read = InMemoryFeatures()

    class Damaged(Failing):
        def many(self, keys, now_us) -> ReadResult:
            if 10 in keys["customer_id"]:
                raise ReadFailed(CorruptRow.__name__, store=False)
            return read.read(keys, now_us)

    keys = {"customer_id": [1, 10, 1], "sku": ["A-1"] * 3}
    found = StoredFeatures("basket", PLAN, Damaged(), "nulls").many(keys, NOW_US)

    assert found.status["product"] == [Status.PRESENT, Status.UNAVAILABLE, Status.PRESENT]
    assert found.values["customer_orders__segment"] == ["neu", None, "neu"]
    with pytest.raises(StoreUnavailable, match="CorruptRow"):
        StoredFeatures("basket", PLAN, Damaged(), "refuse").many(keys, NOW_US)


@pytest.mark.parametrize("policy", ["refuse", "nulls"])
def test_a_store_that_hangs_is_answered_for_in_time(tmp_path, monkeypatch, policy):
    service = build_service(tmp_path, serving={"when_store_fails": policy, "deadline_ms": 50})
    let_go = threading.Event()
    monkeypatch.setattr(service.reader, "read", lambda keys, now: let_go.wait(30))

    answer = service.predict()
    let_go.set()

    assert answer.status_code == {"refuse": 503, "nulls": 200}[policy]
    counts = service.book.counts()["basket/1"]
    assert counts.accepted == {"refuse": 0, "nulls": 1}[policy]


def test_what_could_not_be_answered_in_time_is_not_logged_as_answered(tmp_path, monkeypatch):
    service = build_service(tmp_path, serving={"deadline_ms": 1})
    score, let_go, scored = service.scorer.score, threading.Event(), threading.Event()

    def slowly(columns):
        let_go.wait(30)
        scored.set()
        return score(columns)

    monkeypatch.setattr(service.scorer, "score", slowly)
    answer = service.predict({"rows": [ROW] * 40})
    let_go.set()
    scored.wait(30)
    service.predict({"rows": [ROW] * 40})  # behind the first on the same thread, so that one is over

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "deadline_exceeded")
    assert service.book.counts()["basket/1"].accepted in {0, 40}
    ids = read_predictions(tmp_path / "predictions", "basket", **ALWAYS)["request_id"].to_pylist()
    assert len(set(ids)) <= 1


def test_a_thread_that_is_told_that_nobody_waits_logs_nothing(service, monkeypatch):
    class Taken(Claim):
        def __init__(self):
            super().__init__()
            self.take()

    monkeypatch.setattr("serving.predict_route.Claim", Taken)
    answer = service.predict({"rows": [ROW] * 40})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "deadline_exceeded")
    assert answer.headers["retry-after"] == "1"
    assert service.book.counts()["basket/1"].accepted == 0


def test_only_a_shadow_may_answer_when_nobody_waits_any_more(service):
    answering, model = Answering(service.ids, service.clock), service.models.current["basket"].champion
    columns = [{name: [value] for name, value in part.items()} for part in (KEYS, INPUTS)]
    question, over = Question("r", *columns, rows=1), Moment(NOW_US, started_ns=0, deadline_ns=0)
    read = service.reader.read(question.keys, NOW_US)

    with pytest.raises(DeadlineExceeded):
        answering.many(model, Role.CHAMPION, question, read, over)
    assert service.book.counts()["basket/1"].accepted == 0
    answering.many(model, Role.SHADOW, question, read, over)
    assert service.book.counts()["basket/1"].written == 1


def test_few_rows_of_a_store_that_may_hang_are_read_beside_the_loop(service, monkeypatch):
    features, threads = service.models.current["basket"].champion.features, []
    many = features.many

    def note(keys, now_us):
        threads.append(threading.current_thread().name)
        return many(keys, now_us)

    monkeypatch.setattr(features, "many", note)

    assert service.predict({"rows": [ROW] * 2}).status_code == 200
    assert threads == ["score_0"]


def test_more_than_can_be_answered_in_time_is_refused_at_once(service):
    service.parts.pressure.waiting = 101
    refused = service.predict()
    service.parts.pressure.waiting = 100
    taken = service.predict()

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert refused.headers["retry-after"] == "1"
    assert taken.status_code == 200
    assert "knownat_shed_total 1.0" in service.ask_admin("GET", "/metrics").text


@pytest.mark.parametrize(("ahead", "waiting"), [(100, 500), (101, 0)])
def test_who_came_first_is_not_refused_for_those_behind(ahead, waiting):
    pressure, scope = Pressure(waiting=waiting), {"extensions": {AHEAD: ahead}}

    if ahead <= pressure.most:
        pressure.relieve(scope)
    else:
        with pytest.raises(Overloaded):
            pressure.relieve(scope)


def test_clients_that_are_slow_to_send_do_not_count_as_pressure(service):
    service.parts.pressure.waiting = 150
    service.parts.pressure.arriving = range(50)

    assert service.predict().status_code == 200
