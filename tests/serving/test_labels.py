"""Labels by prediction id: kept, told apart, and the newest wins."""

from datetime import UTC, datetime

import pytest

from knownat.clock import from_us
from knownat.contract.log_reader import read_labels
from serving.prediction_ids import PredictionIds, open_prediction_ids
from tests.serving.fakes import MINUTE_US, NOW_US, ROW

BAD = {
    "no label": {"prediction_id": "a"},
    "text": {"prediction_id": "a", "label": "1"},
    "true": {"prediction_id": "a", "label": True},
    "null": {"prediction_id": "a", "label": None},
    "beyond a double": {"prediction_id": "a", "label": 10**400},
    "no id": {"label": 1},
    "an endless id": {"prediction_id": "a" * 300, "label": 1},
    "an unknown field": {"prediction_id": "a", "label": 1, "comment": "secret"},
    "a time without a zone": {"prediction_id": "a", "label": 1, "label_timestamp": "2013-10-15T11:00:00"},
    "no time at all": {"prediction_id": "a", "label": 1, "label_timestamp": "yesterday"},
    "null as a time": {"prediction_id": "a", "label": 1, "label_timestamp": None},
    "a number as a time": {"prediction_id": "a", "label": 1, "label_timestamp": 1},
    "a time to come": {"prediction_id": "a", "label": 1, "label_timestamp": "2013-10-15T12:00:01.000001Z"},
    "no object": 7,
}


def predicted(service, rows=1):
    return [p["prediction_id"] for p in service.predict({"rows": [ROW] * rows}).json()["predictions"]]


def post(service, *labels):
    return service.ask("POST", "/v1/labels", json={"labels": list(labels)})


def kept(service, model=None):
    return read_labels(service.root / "predictions", model).to_pylist()


def test_a_label_is_kept_with_the_time_it_became_known(service):
    (one,) = predicted(service)

    answer = post(service, {"prediction_id": one, "label": 1, "label_timestamp": "2013-10-15T13:00:00+02:00"})

    assert answer.json() == {"accepted": 1, "unknown": []}
    assert kept(service, "basket") == [
        {
            "prediction_id": one,
            "label": 1.0,
            "label_timestamp": datetime(2013, 10, 15, 11, tzinfo=UTC),
            "logged_at": from_us(NOW_US),
        }
    ]
    assert kept(service, "bask") == []


def test_a_clock_that_runs_a_second_ahead_may_label(service):
    (one,) = predicted(service)

    answer = post(service, {"prediction_id": one, "label": 1, "label_timestamp": "2013-10-15T12:00:01Z"})

    assert answer.json() == {"accepted": 1, "unknown": []}


def test_ids_that_no_prediction_has_are_told(service):
    (one,) = predicted(service)
    forged = [
        f"{one[:-1]}{'0' if one[-1] != '0' else '1'}",
        one.replace("basket", "casket"),
        "x",
        "ü",
        ".",
        one + ".",
    ]

    answer = post(service, *({"prediction_id": i, "label": 1} for i in [one, *forged]))

    assert answer.json() == {"accepted": 1, "unknown": forged}
    assert [label["prediction_id"] for label in kept(service)] == [one]


def test_the_newest_known_label_of_a_prediction_wins(service):
    one, other = sorted(predicted(service, rows=2))

    post(service, {"prediction_id": one, "label": 1, "label_timestamp": "2013-10-15T11:00:00Z"})
    post(service, {"prediction_id": one, "label": 2, "label_timestamp": "2013-10-15T10:00:00Z"})
    post(service, {"prediction_id": other, "label": 3}, {"prediction_id": other, "label": 4})
    assert [label["label"] for label in kept(service)] == [1.0, 4.0]

    service.clock.move_to(NOW_US + MINUTE_US)
    post(service, {"prediction_id": one, "label": 5, "label_timestamp": "2013-10-15T11:00:00Z"})
    assert [label["label"] for label in kept(service)] == [5.0, 4.0]


def test_of_labels_that_became_known_together_the_last_that_was_posted_wins_wherever_it_lies(service):
    (one,) = predicted(service)
    label = {"prediction_id": one, "label_timestamp": "2013-10-15T11:00:00Z"}
    service.clock.move_to(NOW_US + MINUTE_US)
    post(service, *({**label, "label": n} for n in range(9)))
    # A clock that was set back: the order of the files is not the order of the posts.
    service.book.labels.rotate()
    service.clock.move_to(NOW_US)
    post(service, {**label, "label": 99})

    assert [found["label"] for found in kept(service)] == [8.0]


@pytest.mark.parametrize("label", BAD.values(), ids=BAD)
def test_a_bad_label_refuses_its_request(service, label):
    (one,) = predicted(service)

    answer = post(service, {"prediction_id": one, "label": 1}, label)

    assert answer.status_code == 422
    assert "label 1 " in answer.json()["error"]["message"]
    assert "secret" not in answer.text
    assert kept(service) == []


@pytest.mark.parametrize("body", [{}, {"labels": []}, {"labels": {}}, {"labels": [], "x": 1}], ids=str)
def test_a_request_without_labels_is_refused(service, body):
    assert service.ask("POST", "/v1/labels", json=body).status_code == 422


def test_an_unknown_field_beside_the_labels_refuses_them(service):
    (one,) = predicted(service)

    answer = service.ask("POST", "/v1/labels", json={"labels": [{"prediction_id": one, "label": 1}], "x": 1})

    assert answer.status_code == 422
    assert "unknown field" in answer.json()["error"]["message"]
    assert kept(service) == []


def test_more_labels_than_one_request_may_bring_are_refused(service, monkeypatch):
    monkeypatch.setattr("serving.labels.MAX_LABELS", 2)
    labels = [{"prediction_id": one, "label": 1} for one in predicted(service, rows=3)]

    assert post(service, *labels).status_code == 422
    assert kept(service) == []
    assert post(service, *labels[:2]).json() == {"accepted": 2, "unknown": []}


def test_a_label_that_cannot_be_kept_is_not_accepted(service, tmp_path):
    (one,) = predicted(service)
    service.book.labels.rotate()
    labels = tmp_path / "predictions" / "labels"
    labels.rename(tmp_path / "away")
    labels.write_text("in the way")

    answer = post(service, {"prediction_id": one, "label": 1})

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "log_unavailable"


def test_ids_are_known_to_every_scorer_of_one_log(tmp_path):
    first, second = open_prediction_ids(tmp_path, "a" * 16), open_prediction_ids(tmp_path, "b" * 16)
    elsewhere = PredictionIds(b"k" * 32, "a" * 16)

    issued = first.issue("basket", 3)

    assert all(map(second.knows, issued))
    assert not any(map(elsewhere.knows, issued))
    assert len({*issued, *second.issue("basket", 3), *first.issue("basket", 3)}) == 9
