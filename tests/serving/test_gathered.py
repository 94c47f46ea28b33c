"""Who is gathered and who is not, and what becomes of calls where a step cannot be taken together."""

import asyncio
import json
from dataclasses import replace

import pytest

from knownat.contract.release import read_release
from knownat.errors import ReleaseError, TransformFailed
from serving.predict_route import PredictRoute
from serving.prediction_log import RowLog
from serving.stored_features import JointFeatures
from tests.serving.fakes import ROW
from tests.serving.made_workspace import MODEL, deploy, deployed, make_workspace, release
from tests.serving.running import fill_lmdb
from tests.serving.test_rounds import GOOD, PREDICT, Recorded, Served


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"))
    fill_lmdb(made)
    return made


@pytest.mark.parametrize(
    ("failure", "status", "says"),
    [
        (ReleaseError("secret"), 500, "'basket' 1 could not score: ReleaseError."),
        (TransformFailed("load", "ValueError", from_request=True), 422, "that it can take"),
    ],
    ids=["the release's", "the request's"],
)
def test_what_keeps_a_row_from_its_score_is_named_as_it_is_alone(made, failure, status, says):
    class Failing:
        def score_one(self, stored, inputs):
            raise failure

    served = Served(made, change=lambda model: replace(model, scorer=Failing()))

    ((found, document),) = served.ask(Recorded(GOOD % 3))

    assert found == status
    assert says in document["error"]["message"]
    assert "secret" not in str(document)


def test_nothing_is_answered_that_could_not_be_logged(made, monkeypatch):
    served = Served(made)

    def fail(_log, _rows):
        raise RuntimeError("unheard of")

    monkeypatch.setattr(RowLog, "append_apart", fail)
    answers = served.ask(*(Recorded(GOOD % customer) for customer in range(3)))

    assert [status for status, _ in answers] == [500, 500, 500]


def test_each_version_of_one_round_reads_and_logs_its_own(made):
    two = release(made, "2")
    deploy(made, champion=read_release(made.workspace.releases / MODEL / "1"), pinned=(deployed(two),))
    served = Served(made)
    pinned = f"/v1/models/{MODEL}/versions/2/predict"

    answers = served.ask(
        *(Recorded(GOOD % 3, path=path) for path in (PREDICT, pinned, PREDICT, pinned, pinned))
    )

    assert [document["version"] for _, document in answers] == ["1", "2", "1", "2", "2"]
    counts = served.book.counts()
    assert (counts["basket/1"].written, counts["basket/2"].written) == (2, 3)


def test_a_crowd_is_answered_some_at_a_time(made, monkeypatch):
    served, written = Served(made), []
    append = RowLog.append_apart

    def note(log, rows):
        written.append(len(rows))
        append(log, rows)

    monkeypatch.setattr(RowLog, "append_apart", note)
    served.ask(*(Recorded(GOOD % customer) for customer in range(40)))

    assert written == [16, 16, 8]


@pytest.mark.parametrize(
    ("method", "query", "path", "taken"),
    [
        ("POST", b"", PREDICT, True),
        ("POST", b"explain=true", PREDICT, False),
        ("GET", b"", PREDICT, False),
        ("POST", b"", "/v1/labels", False),
    ],
)
def test_only_questions_without_a_parameter_are_gathered(made, method, query, path, taken):
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": query}

    assert Served(made).app.rounds.takes(scope) is taken


def test_a_row_that_must_be_read_alone_is(made):
    class Unsure(JointFeatures):
        def row(self, keys, now_us, found, place):
            return super().row(keys, now_us, found, place) if keys["customer"] != 4 else None

    def change(model):
        inner = model.features._inner
        return replace(model, features=Unsure("basket", model.plan, inner))

    calls = [Recorded(GOOD % customer) for customer in (3, 4, 5)]
    served = Served(made, change=change)

    answers = served.ask(*calls)

    assert [status for status, _ in answers] == [200, 200, 200]
    assert [len(call.left) for call in calls] == [0, 1, 0]
    assert served.book.counts()["basket/1"].written == 3


MANY = json.dumps({"rows": [{"keys": {"customer": 1}}] * 3}).encode()


def test_shadows_see_what_was_answered_alone_or_together_and_nothing_else(made, monkeypatch):
    served, seen = Served(made), []
    monkeypatch.setattr(PredictRoute, "let_shadows_see", lambda _, asked: seen.append(asked.question))

    served.ask(Recorded(GOOD % 1), Recorded(MANY), Recorded(b"{"), Recorded(GOOD % 2))

    assert sorted(type(question).__name__ for question in seen) == ["OneQuestion", "OneQuestion", "Question"]


def test_any_other_reader_is_asked_in_a_task_and_its_failure_told(service):
    def asked():
        call = Recorded(json.dumps(ROW).encode())

        async def run():
            service.app.rounds.add(call)
            while not call.answers:
                await asyncio.sleep(0.001)

        asyncio.run(asyncio.wait_for(run(), 20))
        return call.answers[0]

    status, document = asked()
    service.reader.failure = OSError(5)
    failed, refusal = asked()

    assert (status, document["predictions"][0]["degraded"]) == (200, False)
    assert (failed, refusal["error"]["code"]) == (503, "store_unavailable")
    told = service.ask_admin("GET", "/metrics").text
    assert 'knownat_requests_total{model="basket",route="predict",status="503"} 1.0' in told
