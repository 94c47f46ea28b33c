"""Requests that come together: each answered as it would be alone, whatever becomes of the others."""

import asyncio
import json
import os
import signal
import socket
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from knownat.clock import FixedClock
from knownat.contract.log_reader import read_predictions
from knownat.contract.release import read_release
from knownat.stores.lmdb_rows import open_lmdb
from knownat.stores.row_keys import Entities, ViewName
from serving.access import Access
from serving.app import Parts, create_apps
from serving.features import open_feature_store
from serving.keys import Scope, add_key
from serving.loading import ReleaseLoader
from serving.models import ServedModels
from serving.predict_route import PredictRoute
from serving.prediction_ids import open_prediction_ids
from serving.prediction_log import LogBook
from tests.load.accounts import ALWAYS
from tests.serving.asking import ask
from tests.serving.made_workspace import MODEL, NOW_US, deploy, deployed, expected, make_workspace, release
from tests.serving.running import fill_lmdb, serving
from tests.serving.test_wire import read_answer

PREDICT = f"/v1/models/{MODEL}/predict"
GOOD = b'{"keys": {"customer": %d}, "request_id": "r"}'


@pytest.fixture
def made(tmp_path):
    made = make_workspace(tmp_path)
    fill_lmdb(made)
    return made


def post(path, body, *headers):
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def told(answer):
    """What an answer says, but for what no two answers share."""
    status, headers, body = answer
    document = json.loads(body)
    for prediction in document.get("predictions", ()):
        assert prediction.pop("prediction_id").startswith(f"{MODEL}.")
    kept = {name: value for name, value in headers.items() if name not in ("date", "content-length")}
    return status, kept, document


def test_what_comes_together_is_answered_as_it_is_alone(made):
    release_two = release(made, "2", sunset=datetime(2030, 1, 1, tzinfo=UTC))
    deploy(
        made,
        champion=read_release(made.workspace.releases / MODEL / "1"),
        pinned=(deployed(release_two),),
    )
    keys = made.workspace.home / "keys.json"
    _, key = add_key(keys, "asks", frozenset({Scope.PREDICT}), now_us=NOW_US, days=None)
    _, labels = add_key(keys, "labels", frozenset({Scope.LABEL}), now_us=NOW_US, days=None)
    good = f"authorization: Bearer {key}"
    many = json.dumps({"rows": [{"keys": {"customer": i}} for i in range(30)], "request_id": "r"}).encode()
    requests = [
        *(post(PREDICT, GOOD % customer, good) for customer in range(40)),
        post(f"/v1/models/{MODEL}/versions/2/predict", GOOD % 3, good),
        post(f"/v1/models/{MODEL}/versions/9/predict", GOOD % 3, good),
        post("/v1/models/other/predict", GOOD % 3, good),
        post("/v1/predict", GOOD % 3, good),
        post(PREDICT, GOOD % 3),
        post(PREDICT, GOOD % 3, f"authorization: Bearer {labels}"),
        post(PREDICT, b'{"keys": {"customer": "three"}, "request_id": "r"}', good),
        post(PREDICT, b"{", good),
        post(PREDICT, GOOD % 3 + b" " * 20_000, good),
        post(PREDICT, GOOD % 123_456, good),
        post(PREDICT, b'{"keys": {"customer": null}, "request_id": "r"}', good),
        post(PREDICT, many, good),
        post(PREDICT, GOOD % 3, good, "connection: close"),
    ]
    with serving(made, "--keys", str(keys)) as running, ExitStack() as stack:
        address = running.url.removeprefix("http://").split(":")

        def send(request):
            connection = stack.enter_context(socket.create_connection(address, timeout=30))
            connection.sendall(request)
            return stack.enter_context(connection.makefile("rb"))

        alone = [told(read_answer(send(request))) for request in requests]
        pids = [running.process.pid, *running.children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        files = [send(request) for request in requests]
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        together = [told(read_answer(file)) for file in files]

    assert together == alone
    scores = [document["predictions"][0]["score"] for _, _, document in together[:40]]
    champion = read_release(made.workspace.releases / MODEL / "1")
    assert scores == pytest.approx(expected(made, champion, range(40)), rel=0, abs=1e-12)
    statuses = [status.split()[1] for status, _, _ in together[40:]]
    assert list(map(int, statuses)) == [200, 404, 404, 404, 401, 403, 422, 422, 200, 200, 200, 200, 200]
    logged = read_predictions(made.workspace.predictions, MODEL, **ALWAYS)
    assert logged.num_rows == 2 * (40 + 5 + 30)
    assert len(set(logged["prediction_id"].to_pylist())) == logged.num_rows


def test_a_short_body_is_held_to_a_limit_that_is_shorter(made):
    with serving(made, "--max-body-bytes", "2000") as running, ExitStack() as stack:
        answers = []
        for length in (2_000, 2_001):
            address = running.url.removeprefix("http://").split(":")
            connection = stack.enter_context(socket.create_connection(address, timeout=30))
            connection.sendall(post(PREDICT, (GOOD % 3).ljust(length)))
            answers.append(read_answer(stack.enter_context(connection.makefile("rb"))))

    assert [status.split()[1] for status, _, _ in answers] == ["200", "413"]


@dataclass
class Recorded:
    """A call that keeps what it is answered."""

    body: bytes
    path: str = PREDICT
    whole: bool = True
    model: str = ""
    started_ns: int = 0
    answers: list[tuple[int, dict]] = field(default_factory=list)
    left: list[object] = field(default_factory=list)
    dismissed: int = 0
    over: bool = False

    @property
    def scope(self):
        return {"type": "http", "method": "POST", "path": self.path, "headers": [], "query_string": b""}

    def answer(self, headers, body, status=200):
        if self.whole:
            self.over = True
            self.answers.append((status, json.loads(body)))
        return self.whole

    def dismiss(self, app):
        self.dismissed += 1
        self.leave(app)

    def leave(self, app):
        self.over = True
        self.left.append(asyncio.get_running_loop().create_task(self._run(app)))

    async def _run(self, app):
        status = []

        async def send(event):
            if event["type"] == "http.response.start":
                status.append(event["status"])
            else:
                self.answers.append((status[0], json.loads(event["body"])))

        async def receive():
            raise AssertionError

        try:
            await app(self.scope, receive, send)
        except RuntimeError:
            assert status == [500]


class Breaking:
    """A scorer that breaks on one customer's row, in a way that has no name."""

    def __init__(self, inner, value):
        self._inner = inner
        self._value = value

    def score_one(self, stored, inputs):
        if stored[0] == self._value:
            raise RuntimeError("unheard of")
        return self._inner.score_one(stored, inputs)


class Served:
    """A made workspace's app in this process, without a server."""

    def __init__(self, made, *, change=lambda model: model):
        self.book = LogBook(made.workspace.predictions)
        ids = open_prediction_ids(made.workspace.predictions, self.book.writer)
        loader = ReleaseLoader(
            made.workspace.releases, open_feature_store(made.workspace.repo), self.book, trial=lambda *_: None
        )
        models = ServedModels(made.workspace.deployment, lambda name, one: change(loader(name, one)))
        models.refresh()
        clock = FixedClock(NOW_US)
        self.parts = Parts(models, self.book, ids, clock, Access(None, clock))
        self.app, self.admin = create_apps(self.parts)

    def ask(self, *calls):
        """Answer calls that come together; return what each was told."""

        async def run():
            for call in calls:
                self.app.rounds.add(call)
            while not all(call.answers for call in calls):
                await asyncio.sleep(0.001)

        asyncio.run(asyncio.wait_for(run(), 20))
        assert [len(call.answers) for call in calls] == [1] * len(calls)
        return [call.answers[0] for call in calls]


def test_one_that_breaks_the_scorer_takes_no_other_with_it(made):
    served = Served(
        made, change=lambda model: replace(model, scorer=Breaking(model.scorer, made.values[5, 0]))
    )

    calls = [Recorded(GOOD % customer) for customer in range(20)]

    answers = served.ask(*calls)

    assert [status for status, _ in answers] == [500 if customer == 5 else 200 for customer in range(20)]
    assert [call.dismissed for call in calls] == [int(customer == 5) for customer in range(20)]
    assert answers[5][1] == {
        "error": {"code": "internal", "message": "The scorer failed; its log says why.", "details": []}
    }
    assert served.book.counts()["basket/1"].written == 19


def test_a_damaged_row_is_refused_alone(made):
    served = Served(made)
    # Another customer's row under this one's key: its checksum covers the key.
    store = open_lmdb(made.workspace.repo / "data" / "online_rows")
    keys = Entities(["int64"], [[5, 6]], 2).row_keys(ViewName("shop", "visits").prefix)
    with store._env.begin(write=True, db=store._rows) as txn:
        txn.put(keys[0], txn.get(keys[1]))

    answers = served.ask(*(Recorded(GOOD % customer) for customer in (4, 5, 6)))

    assert [status for status, _ in answers] == [200, 503, 200]
    assert answers[1][1]["error"]["code"] == "store_unavailable"


def test_an_answer_that_cannot_leave_in_one_piece_leaves_all_the_same(made):
    served = Served(made)

    ((status, document),) = served.ask(Recorded(GOOD % 7, whole=False))

    assert status == 200
    assert document["predictions"][0]["degraded"] is False
    assert served.book.counts()["basket/1"].written == 1


def test_what_fails_behind_an_answer_is_told_to_nobody_who_has_one(made, monkeypatch, caplog):
    served = Served(made)

    def fail(_route, _asked):
        raise RuntimeError("no more threads")

    monkeypatch.setattr(PredictRoute, "let_shadows_see", fail)
    answers = served.ask(*(Recorded(GOOD % customer) for customer in range(3)))

    assert [status for status, _ in answers] == [200, 200, 200]
    assert [record.message for record in caplog.records] == ["A step failed behind an answer."] * 3


def test_nobody_is_refused_for_those_who_were(made):
    served = Served(made)
    good, bad = Recorded(GOOD % 7, whole=False), Recorded(b"{", whole=False)

    answers = served.ask(good, bad)

    assert [status for status, _ in answers] == [200, 422]
    assert (good.dismissed, bad.dismissed) == (0, 1)


def test_what_is_logged_stands_in_the_journal_before_the_first_answer_leaves(made):
    served = Served(made)
    written = []

    class Looking(Recorded):
        def answer(self, headers, body, status=200):
            written.append(served.book.counts()["basket/1"].written)
            return super().answer(headers, body, status)

    served.ask(*(Looking(GOOD % customer) for customer in range(5)))

    assert written == [5] * 5


def test_what_is_answered_and_refused_is_counted(made):
    served = Served(made)

    served.ask(Recorded(GOOD % 1), Recorded(b"{"), Recorded(GOOD % 1, path="/v1/models/other/predict"))

    text = ask(served.admin, "GET", "/metrics").text
    for model, status in (("basket", 200), ("basket", 422), ("unknown", 404)):
        assert f'knownat_requests_total{{model="{model}",route="predict",status="{status}"}} 1.0' in text
