"""A prediction over HTTP: what is answered, what is logged, what is refused."""

import json
import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest

from knownat.clock import from_us
from knownat.contract.log_reader import read_predictions
from knownat.contract.prediction_log import prediction_schema
from serving.openapi import ErrorAnswer, PredictAnswer
from tests.serving.fakes import INPUTS, KEYS, MINUTE_US, NOW_US, PLAN, ROW, build_service

NOW = from_us(NOW_US)


def logged(service, start=NOW, end=NOW + timedelta(days=1)):
    return read_predictions(service.root / "predictions", "basket", start=start, end=end)


def test_an_answer_names_its_version_and_the_age_of_its_views(service):
    given = service.predict({"request_id": "r-1", **ROW})

    answer = given.json()
    prediction = answer["predictions"][0]
    assert {"sunset", "link"}.isdisjoint(given.headers)
    assert (answer["model"], answer["version"], answer["request_id"]) == ("basket", "1", "r-1")
    assert prediction["score"] == 0.1 + 0.2 + -0.0 * 3 + 0.25
    assert prediction["degraded"] is False
    assert prediction["views"] == {
        "customer_orders": {"status": "present", "age_seconds": 300.0},
        "product": {"status": "present", "age_seconds": 5400.0},
    }
    PredictAnswer.model_validate(answer)


def test_rows_are_answered_in_their_order(service):
    keys = [{"customer_id": c, "sku": "A-1"} for c in (10, 1, 10, 2)]

    answer = service.predict({"rows": [{"keys": k, "inputs": INPUTS} for k in keys]}).json()

    assert [p["score"] for p in answer["predictions"]] == [9.25, 0.55, 9.25, 0.25]
    assert len({p["prediction_id"] for p in answer["predictions"]}) == 4


def test_an_unknown_entity_is_told_not_guessed(service):
    answer = service.predict({"keys": {"customer_id": 2, "sku": None}, "inputs": INPUTS})

    prediction = answer.json()["predictions"][0]
    assert answer.status_code == 200
    assert prediction["degraded"] is True
    assert prediction["views"]["customer_orders"] == {"status": "not_found", "age_seconds": None}
    assert prediction["views"]["product"] == {"status": "not_found", "age_seconds": None}


def test_an_expired_row_is_not_served(service):
    prediction = service.predict({"keys": {**KEYS, "customer_id": 7}, "inputs": INPUTS}).json()[
        "predictions"
    ][0]

    assert prediction["views"]["customer_orders"] == {"status": "expired", "age_seconds": 3660.0}
    assert (prediction["score"], prediction["degraded"]) == (0.25, True)


def test_the_log_holds_what_the_model_was_fed(service):
    answer = service.predict({"request_id": "r-1", **ROW}).json()

    row, fed = logged(service).to_pylist()[0], service.scorer.fed[0]
    assert logged(service).schema.remove_metadata() == prediction_schema(PLAN)
    assert row.pop("latency_us") > 0
    assert row == {
        "prediction_id": answer["predictions"][0]["prediction_id"],
        "request_id": "r-1",
        "logged_at": NOW,
        "event_timestamp": NOW,
        "model": "basket",
        "version": "1",
        "role": "champion",
        "key__customer_id": 1,
        "key__sku": "A-1",
        "input__quantity": 3,
        "input__discount": 0.25,
        "input__channel": "web",
        "input__gift": False,
        "input__question_epoch_us": NOW_US,
        "customer_orders__order_count_30d": 2**53 + 1,
        "customer_orders__order_value_mean_30d": 0.1 + 0.2,
        "customer_orders__segment": "neu",
        "product__price": 0.0,
        "product__on_sale": True,
        "request__total": 0.0,
        "served__customer_orders__event_timestamp": from_us(NOW_US - 5 * MINUTE_US),
        "served__customer_orders__created_timestamp": from_us(NOW_US - 4 * MINUTE_US),
        "served__customer_orders__status": "present",
        "served__product__event_timestamp": from_us(NOW_US - 90 * MINUTE_US),
        "served__product__created_timestamp": NOW,
        "served__product__status": "present",
        "degraded": False,
        "score": answer["predictions"][0]["score"],
    }
    for name in ("product__price", "request__total", "customer_orders__segment"):
        assert str(row[name]) == str(fed[name][0])  # the sign of zero as well


def test_every_answered_row_is_logged_once(service):
    ids = [
        p["prediction_id"]
        for n in (1, 3, 2)
        for p in service.predict({"rows": [ROW] * n}).json()["predictions"]
    ]
    service.predict({"rows": []})

    assert sorted(logged(service)["prediction_id"].to_pylist()) == sorted(ids)
    assert service.book.counts()["basket/1"].accepted == 6
    assert service.book.counts()["basket/1"].written == 6


def test_the_question_is_asked_at_the_scorers_time(service):
    service.clock.move_to(NOW_US + 56 * MINUTE_US)

    service.predict()

    row = logged(service).to_pylist()[0]
    assert row["event_timestamp"] == datetime(2013, 10, 15, 12, 56, tzinfo=UTC)
    assert row["input__question_epoch_us"] == NOW_US + 56 * MINUTE_US
    assert row["served__customer_orders__status"] == "expired"


def row_with(**change):
    """One row with a key or an input changed; ``...`` takes it out."""
    merged = {
        part: {name: change.get(name, value) for name, value in given.items()}
        for part, given in (("keys", KEYS), ("inputs", INPUTS))
    }
    extra = {name: value for name, value in change.items() if name not in KEYS | INPUTS}
    merged["inputs"] |= extra
    return {part: {n: v for n, v in given.items() if v is not ...} for part, given in merged.items()}


# What is sent -> what the refusal says. Each of these was coerced, echoed or a 500 somewhere else.
REFUSED = {
    "text as an integer key": (row_with(customer_id="1_0"), "keys.customer_id"),
    "digits as an integer key": (row_with(customer_id="10"), "keys.customer_id"),
    "a fraction as a key": (row_with(customer_id=1.5), "keys.customer_id"),
    "a whole float as a key": (row_with(customer_id=1.0), "keys.customer_id"),
    "true as a key": (row_with(customer_id=True), "keys.customer_id"),
    "10^30 as a key": (row_with(customer_id=10**30), "keys.customer_id"),
    "a number as a text key": (row_with(sku=1), "keys.sku"),
    "a NUL in a key": (row_with(sku="A\0"), "keys.sku"),
    "an empty key": (row_with(sku=""), "keys.sku"),
    "an endless key": (row_with(sku="x" * 2_000), "keys.sku"),
    "a key of too many bytes": (row_with(sku="é" * 600), "keys.sku"),
    "a list as a key": (row_with(sku=["A-1"]), "keys.sku"),
    "a missing key": (row_with(sku=...), "keys.sku is missing"),
    "a missing input": (row_with(gift=...), "inputs.gift is missing"),
    "no inputs at all": ({"keys": KEYS}, "inputs.quantity is missing"),
    "no keys at all": ({"inputs": INPUTS}, "keys.customer_id is missing"),
    "no inputs of one row of many": ({"rows": [ROW, {"keys": KEYS}]}, "inputs.quantity is missing"),
    "a field too many": (row_with(colour="secret"), "colour"),
    "the question's time from a client": (row_with(question_epoch_us=1), "question_epoch_us"),
    "true as an integer": (row_with(quantity=True), "inputs.quantity"),
    "a fraction as an integer": (row_with(quantity=1.5), "inputs.quantity"),
    "10^30 as an integer": (row_with(quantity=10**30), "inputs.quantity"),
    "text as a number": (row_with(discount="0.25"), "inputs.discount"),
    "true as a number": (row_with(discount=True), "inputs.discount"),
    "an integer no double holds": (row_with(discount=2**53 + 1), "inputs.discount"),
    "a number as text": (row_with(channel=1), "inputs.channel"),
    "a NUL in text": (row_with(channel="we\0b"), "inputs.channel"),
    "an endless text": (row_with(channel="x" * 65_537), "inputs.channel"),
    "one as a truth": (row_with(gift=1), "inputs.gift"),
    "a null the model never saw": (row_with(channel=None), "inputs.channel"),
    "no rows": ({"rows": []}, "0 rows"),
    "10 001 rows": ({"rows": [ROW] * 10_001}, "10001 rows"),
    "rows that are none": ({"rows": [1]}, "row 0"),
    "rows that are no list": ({"rows": {"0": ROW}}, "list"),
    "keys that are no object": ({"rows": [{"keys": [1], "inputs": INPUTS}]}, "keys"),
    "nothing": ({}, "rows"),
    "both shapes": ({"rows": [ROW], "keys": KEYS}, "Unknown fields"),
    "an unknown field": ({"rows": [ROW], "explain": True}, "explain"),
    "an unknown field beside one row": ({**ROW, "explain": True}, "Unknown fields ['explain']; one row is"),
    "an unknown field of a row": ({"rows": [{**ROW, "explain": True}]}, "has unknown fields ['explain']"),
    "a row that is none beside one that is": ({"rows": [ROW, 1]}, "row 1"),
    "an empty request id": ({"request_id": "", **ROW}, "request_id"),
    "an endless request id": ({"request_id": "x" * 129, **ROW}, "request_id"),
    "a request id of another type": ({"request_id": 7, "rows": [ROW]}, "request_id"),
    "a request id with a newline": ({"request_id": "a\nb", "rows": [ROW]}, "request_id"),
}


@pytest.mark.parametrize(("body", "says"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_by_name(service, body, says):
    answer = service.predict(body)

    error = answer.json()["error"]
    told = error["message"] + "".join(f" {d['field']} {d['problem']}" for d in error["details"])
    assert answer.status_code == 422
    assert says in told
    assert "secret" not in answer.text
    assert "1_0" not in answer.text
    assert len(answer.content) < 10_000
    ErrorAnswer.model_validate(answer.json())
    assert service.book.counts()["basket/1"].accepted == 0


MALFORMED = {
    "NaN": b'{"keys":{"customer_id":1,"sku":"A-1"},"inputs":{"quantity":1,"discount":NaN}}',
    "Infinity": b'{"keys":{"customer_id":Infinity}}',
    "beyond a double": b'{"keys":{"customer_id":1e999}}',
    "thousands of digits": b'{"keys":{"customer_id":' + b"9" * 6_000 + b"}}",
    "cut off": b'{"rows": [',
    "empty": b"",
    "deep": b"[" * 100_000,
    "deep objects": b'{"rows":' * 50_000,
    "half a surrogate pair": b'{"keys":{"customer_id":1,"sku":"\\ud800"},"inputs":{}}',
    "an encoded surrogate": b'{"keys":{"sku":"\xed\xa0\x80"}}',
    "not UTF-8": b'{"keys":{"sku":"\xff"}}',
    "a list": b"[]",
    "text after it": b"{}{}",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_json_is_refused(service, content):
    answer = service.predict(content=content)

    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "bad_request"


def test_a_number_no_client_means_is_still_a_number(service):
    assert service.predict(row_with(discount=1e30)).status_code == 200


def test_an_input_may_be_null_where_training_held_nulls(service):
    assert service.predict(row_with(discount=None)).json()["predictions"][0]["score"] == 0.1 + 0.2
    assert logged(service)["input__discount"].to_pylist() == [None]


def test_ten_thousand_rows_are_one_request(service):
    answer = service.predict({"rows": [ROW] * 10_000})

    assert len(answer.json()["predictions"]) == 10_000
    assert len(logged(service)) == 10_000


def test_a_body_over_the_limit_is_refused_whatever_it_claims(service):
    async def chunks():
        for _ in range(9):
            yield b" " * (1 << 20)

    announced = service.predict(content=b" " * (9 << 20))
    streamed = service.predict(content=chunks())

    assert (announced.status_code, streamed.status_code) == (413, 413)
    assert announced.json()["error"]["code"] == "body_too_large"


def test_an_unknown_model_lists_those_served(service):
    answer = service.ask("POST", "/v1/models/secret/predict", json=ROW)

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "No such model is served; there are ['basket']."


@pytest.mark.parametrize(
    "failure",
    [sqlite3.OperationalError("database is locked"), OSError(5), KeyError("x"), MemoryError()],
    ids=repr,
)
def test_a_store_that_fails_is_unavailable_by_name(service, failure):
    service.reader.failure = failure

    answer = service.predict()

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "store_unavailable"
    assert type(failure).__name__ in answer.json()["error"]["message"]
    assert service.book.counts()["basket/1"].accepted == 0


def test_one_view_that_cannot_be_read_degrades_the_answer(service):
    service.reader.unavailable = frozenset({"product"})

    prediction = service.predict().json()["predictions"][0]

    assert prediction["degraded"] is True
    assert prediction["views"]["product"] == {"status": "unavailable", "age_seconds": None}
    assert logged(service)["served__product__status"].to_pylist() == ["unavailable"]


def test_no_view_that_can_be_read_is_no_answer(service):
    service.reader.unavailable = frozenset({"product", "customer_orders"})

    answer = service.predict()

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    assert service.book.counts()["basket/1"].accepted == 0


def test_rows_of_other_entities_are_never_taken_for_ours(service, monkeypatch):
    monkeypatch.setattr(service.reader, "read", lambda keys, now: type(service.reader).read(
        service.reader, {name: [*values, *values] for name, values in keys.items()}, now))  # fmt: skip

    for answer in (service.predict(), service.predict({"rows": [ROW] * 2})):
        assert answer.status_code == 500
        assert "RowsNotConserved" in answer.json()["error"]["message"]


def test_a_model_that_cannot_score_says_so(service, monkeypatch):
    monkeypatch.setattr(service.scorer, "score", lambda columns: 1 / 0)

    alone, together = service.predict(), service.predict({"rows": [ROW] * 40})

    assert (alone.status_code, alone.json()["error"]["code"]) == (500, "internal")
    assert (together.status_code, together.json()["error"]["code"]) == (500, "scoring_failed")
    assert together.json()["error"]["message"] == "'basket' 1 could not score: ZeroDivisionError."


def test_a_store_that_hangs_is_given_up_at_the_deadline(tmp_path, monkeypatch):
    service, release = build_service(tmp_path, read_seconds=0.05), threading.Event()
    monkeypatch.setattr(service.reader, "read", lambda keys, now: release.wait(30))

    answer = service.predict()
    release.set()

    assert answer.status_code == 503
    assert "no answer in time" in answer.json()["error"]["message"]
    assert service.ask("GET", "/health/live").status_code == 200


def test_an_unknown_path_and_method_are_answered_alike(service):
    longer = service.ask("POST", "/v1/models/basket/predict/again/predict", json=ROW)
    for answer in (service.ask("GET", "/nothing"), service.ask("GET", "/v1/labels"), longer):
        ErrorAnswer.model_validate(answer.json())
        assert answer.status_code in {404, 405}
    assert service.ask("GET", "/v1/models/basket/predict").status_code == 405


def test_the_description_covers_what_is_answered(service):
    described = service.ask("GET", "/openapi.json").json()

    predict = described["paths"]["/v1/models/{model}/predict"]["post"]
    many, one = predict["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert {"200", "401", "403", "404", "413", "422", "429", "500", "503"} <= set(predict["responses"])
    assert many["properties"]["rows"]["maxItems"] == 10_000
    assert set(one["properties"]) == {"request_id", "keys", "inputs"}
    assert json.dumps(described).count("HTTPValidationError") == 0
    of_a_model = ("/v1/models/{model}", "/v1/models/{model}/versions/{version}")
    assert set(described["paths"]) == {
        "/v1/labels", "/v1/feedback", "/v1/push/{source}", "/health/live", "/health/ready",
        *(f"{path}/{page}" for path in of_a_model for page in ("predict", "form", "preview")),
    }  # fmt: skip
