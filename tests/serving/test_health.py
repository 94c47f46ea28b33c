"""Health and metrics tell the truth about models, store, log and draining."""

import asyncio
import errno
import os
from types import SimpleNamespace

import pytest

from knownat.errors import ReleaseError
from serving import health
from serving.models import ServedModels
from tests.serving.fakes import ROW, deploy


def ready(service):
    answer = service.ask("GET", "/health/ready")
    return answer.status_code, answer.json()


def metric(service, name):
    lines = service.ask_admin("GET", "/metrics").text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), None)


def test_a_scorer_is_ready_when_it_can_answer(service):
    status, told = ready(service)

    assert status == 200
    assert told == {
        "ready": True,
        "draining": False,
        "models": {"basket": "1"},
        "refused": {},
        "store": {"basket": "readable"},
        "log": "writable",
    }


def test_a_store_that_cannot_be_read_is_not_ready(service):
    service.reader.failure = OSError(errno.ECONNREFUSED, "refused")

    status, told = ready(service)

    assert status == 503
    assert told["store"] == {"basket": "not readable: ConnectionRefusedError"}
    assert service.ask("GET", "/health/live").status_code == 200


def test_a_view_that_cannot_be_read_is_not_ready(service):
    service.reader.unavailable = frozenset({"product"})

    assert ready(service)[1]["store"] == {"basket": "views ['product'] cannot be read"}
    assert ready(service)[0] == 503


def test_a_store_is_asked_once_a_second_whoever_asks(service, monkeypatch):
    seconds = [100.0]
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    statuses = [ready(service)[0]]
    service.reader.failure = OSError(errno.ECONNREFUSED, "refused")
    for seconds[0] in (100.0, 100.999, 101.0):
        statuses.append(ready(service)[0])

    assert statuses == [200, 200, 200, 503]


def test_a_draining_scorer_is_not_ready_but_answers(service):
    service.drain.begun = True

    status, told = ready(service)

    # The store is not asked: the answer is known, and must not wait behind the last reads.
    assert (status, told["draining"], told["store"]) == (503, True, {})
    assert service.predict().status_code == 200


def test_a_scorer_without_models_is_not_ready(service):
    (service.root / "deployment.json").unlink()
    service.models.refresh()

    assert ready(service)[0] == 503


def test_a_log_that_takes_no_rows_is_told_while_serving_goes_on(service, monkeypatch):
    def full(descriptor, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    answer = service.predict()
    monkeypatch.undo()

    status, told = ready(service)
    counts = service.book.counts()["basket/1"]
    assert (answer.status_code, status, told["log"]) == (200, 200, {"basket/1": "ENOSPC"})
    assert (counts.accepted, counts.written, counts.dropped) == (1, 0, {"ENOSPC": 1})
    assert metric(service, 'knownat_log_dropped_total{log="basket/1",reason="ENOSPC"}') == 1

    assert service.predict().status_code == 200
    assert ready(service)[1]["log"] == "writable"


def test_metrics_count_what_was_asked_and_answered(service):
    service.predict({"rows": [ROW, {**ROW, "keys": {"customer_id": 7, "sku": "B"}}]})
    service.predict({"rows": []})
    service.ask("POST", "/v1/models/secret/predict", json=ROW)

    requests = 'knownat_requests_total{model="%s",route="predict",status="%d"}'
    views = 'knownat_view_reads_total{model="basket",status="%s",version="1",view="%s"}'
    assert metric(service, requests % ("basket", 200)) == 1
    assert metric(service, requests % ("basket", 422)) == 1
    assert metric(service, requests % ("unknown", 404)) == 1
    assert metric(service, views % ("expired", "customer_orders")) == 1
    assert metric(service, views % ("not_found", "product")) == 1
    assert metric(service, views % ("present", "product")) == 1
    assert metric(service, 'knownat_predictions_total{degraded="true",model="basket",version="1"}') == 1
    assert metric(service, 'knownat_predict_seconds_count{model="basket",version="1"}') == 1
    assert (
        metric(service, 'knownat_view_age_seconds{model="basket",version="1",view="customer_orders"}') == 3660
    )
    assert metric(service, 'knownat_log_accepted_total{log="basket/1"}') == 2
    assert metric(service, 'knownat_log_written_total{log="basket/1"}') == 2
    assert metric(service, 'knownat_model_served{model="basket",version="1"}') == 1


def test_a_client_that_goes_away_is_counted_and_told_nothing(service):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    path = "/v1/models/basket/predict"
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    asyncio.run(service.app(scope, receive, send))

    assert sent == []
    assert metric(service, 'knownat_requests_total{model="basket",route="predict",status="499"}') == 1


def test_a_new_deployment_is_taken_up(service):
    deploy(service.root, version="2")

    assert service.models.refresh()
    assert service.predict().json()["version"] == "2"
    assert not service.models.refresh()


def test_a_version_that_cannot_be_loaded_is_refused_and_the_old_one_serves(service):
    loaded = service.models.current["basket"].champion

    def load(model, deployed):
        if deployed.version == "bad":
            raise ReleaseError("model.txt was changed")
        return loaded

    models = ServedModels(service.root / "deployment.json", load)
    models.refresh()
    deploy(service.root, version="bad", digest="1" * 64)
    models.refresh()

    assert models.current["basket"].champion is loaded
    assert models.problems == {"basket": "version bad is refused: model.txt was changed"}

    deploy(service.root, version="1")
    models.refresh()
    assert models.problems == {}


@pytest.mark.parametrize("content", ["", "{", '{"format": 1, "models": {"basket": {}}}'], ids=repr)
def test_a_broken_deployment_changes_nothing(service, content):
    (service.root / "deployment.json").write_text(content)
    service.models.refresh()

    assert service.predict().status_code == 200
    assert "cannot be read as a deployment" in ready(service)[1]["refused"]["deployment"]
    assert ready(service)[0] == 200
