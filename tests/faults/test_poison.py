"""Poison sent to every operation of a running scorer: refused, never 5xx, nothing repeated, no harm."""

import http.client
import json
import socket
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from knownat.contract.push_plan import PushPlan, write_push_plan
from serving import heads
from tests.serving.made_workspace import MODEL, make_workspace
from tests.serving.running import fill_lmdb, serving
from tests.serving.test_push import SOURCES
from tests.soak import scale

PARTS = {"model": MODEL, "version": "1", "source": "fresh_orders"}
CANARY = "canary-51c0"
DEEP = 100_000
KEY = '{"keys": {"customer": %s}}'
BODIES = {
    "NaN": KEY % "NaN",
    "Infinity": KEY % "-Infinity",
    "1e999": KEY % "1e999",
    "10^30": KEY % 10**30,
    "a NUL": KEY % '"a\\u0000b"',
    "half a surrogate": KEY % '"\\ud800"',
    "two halves the wrong way round": '{"rows": [{"x": "\\udc00\\ud800"}]}',
    "deep lists": "[" * DEEP,
    "deep lists that end": '{"rows": ' + "[" * DEEP + "]" * DEEP + "}",
    "deep objects": '{"rows":' * DEEP,
    "a key twice": '{"keys": {"customer": 1, "customer": 2}, "keys": {"customer": 3}}',
    "a body twice": '{"rows": [], "rows": []}{"rows": []}',
    "a long key": '{"%s": 1}' % ("k" * 1_000_000),
    "a long number": KEY % ("9" * 500_000),
    "a long text": '{"prediction_id": "%s", "comment": "x"}' % ("p" * 1_000_000),
    "many rows": json.dumps({"rows": [{}] * 100_000}),
    "many labels": json.dumps({"labels": [{}] * 100_000}),
    "nulls": '{"rows": null, "labels": null, "keys": null, "comment": null}',
    "another id": '{"prediction_id": "basket.\\u0131.x", "comment": "x"}',
    "no JSON": CANARY,
    "nothing": "",
    "a list": "[]",
    "a text": '"x"',
    "not UTF-8": b'{"rows": "\xff\xfe"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "zeros": bytes(10_000),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"))
    fill_lmdb(made)
    write_push_plan(made.workspace.push_sources, PushPlan(project="shop", sources=SOURCES))
    with serving(made) as scorer:
        yield scorer


def operations(running):
    described = httpx.get(f"{running.url}/openapi.json", timeout=60).json()["paths"]
    return [(method.upper(), path.format(**PARTS)) for path, found in described.items() for method in found]


def posts(running):
    return [path for method, path in operations(running) if method == "POST"]


def predict_works(client):
    return client.post(f"/v1/models/{MODEL}/predict", json={"keys": {"customer": 3}}).status_code == 200


def test_no_poisoned_body_is_an_error_of_ours(running):
    asked = posts(running)
    with httpx.Client(base_url=running.url, timeout=60) as client:
        found = {
            (path, name): client.post(path, content=body) for path in asked for name, body in BODIES.items()
        }
        assert predict_works(client)

    assert len(asked) >= 4
    for (path, name), answer in found.items():
        assert answer.status_code < 500, (path, name, answer.text)
        # A key twice is JSON; whoever reads it takes the last.
        assert answer.status_code >= 400 or name == "a key twice", (path, name, answer.text)
        assert CANARY not in answer.text


def test_twenty_megabytes_are_refused_by_their_announcement_and_by_their_coming(running):
    def pieces():
        for _ in range(20):
            yield b" " * (1 << 20)

    with httpx.Client(base_url=running.url, timeout=60) as client:
        for path in posts(running):
            assert refused(client, path, content=b" " * (20 << 20))
            assert refused(client, path, content=pieces())
        assert predict_works(client)


def refused(client, path, **given):
    """Whether it was told 413, or saw the connection closed while it was still sending."""
    try:
        return client.post(path, **given).status_code == 413
    except httpx.TransportError:
        return True


@pytest.mark.parametrize(
    "path",
    ["/v1/models/%00/predict", "/v1/models/%ff%fe/predict", "/v1/models/..%2f..%2fetc/predict", "/%2e%2e/x",
     "/v1/push/%00", "/v1/models/basket/versions/%F0%9F%92%A9/predict", "/" + "a" * 60_000,
     "/v1/models//predict"],
)  # fmt: skip
def test_no_poisoned_path_is_an_error_of_ours(running, path):
    with httpx.Client(base_url=running.url, timeout=60) as client:
        for method in ("GET", "POST", "PUT", "OPTIONS", "TRACE", "PATCH"):
            assert client.request(method, path, content=b"{}").status_code in range(400, 500)
        assert predict_works(client)


def raw(running, sent, *, wait=5.0):
    """Send bytes as they are; return what came back before the other side closed, or was silent."""
    host = urlsplit(running.url)
    answer = b""
    with socket.create_connection((host.hostname, host.port), timeout=wait) as line:
        with suppress(OSError):  # It may have closed before all was sent, with its answer on the way.
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
        try:
            while piece := line.recv(65_536):
                answer += piece
        except (TimeoutError, ConnectionError):
            pass
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # a TLS greeting
        b"GET\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST /v1/labels HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/labels HTTP/1.1\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/labels HTTP/1.1\r\nhost: \xff\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_hurts_nobody(running, sent):
    assert not raw(running, sent).startswith(b"HTTP/1.1 5")
    with httpx.Client(base_url=running.url, timeout=60) as client:
        assert predict_works(client)


def resident(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) >> 10


def test_an_endless_head_is_refused_before_it_fills_the_memory(running):
    before = resident(running.process.pid)
    host = urlsplit(running.url)
    with socket.create_connection((host.hostname, host.port), timeout=60) as line:
        line.sendall(b"GET /health/live HTTP/1.1\r\n")
        sent = 0
        try:
            for number in range(64 << 10):
                sent += line.send(b"x-%d: " % number + b"a" * 1_000 + b"\r\n")
        except OSError:
            pass

    assert sent < 32 << 20
    assert resident(running.process.pid) - before < 32
    assert raw(running, b"GET / HTTP/1.1\r\nx: " + b"a" * 65_600).startswith(b"HTTP/1.1 431")


def test_slow_clients_are_given_up_and_everyone_else_is_answered(running):
    host = urlsplit(running.url)
    lines = [socket.create_connection((host.hostname, host.port), timeout=60) for _ in range(scale(20, 300))]
    begun = time.monotonic()
    for number, line in enumerate(lines):
        if number % 3:
            head = b"POST /v1/labels HTTP/1.1\r\ncontent-length: 100\r\n"
            line.sendall(head + b"\r\n{" * (number % 2))
    with httpx.Client(base_url=running.url, timeout=60) as client:
        while time.monotonic() - begun < heads.HEAD_SECONDS:
            assert predict_works(client)
            time.sleep(0.1)
    answers = [line.recv(65_536) for line in lines]
    for line in lines:
        line.close()

    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}


def test_an_answer_to_a_head_alone_is_no_body(running):
    host = urlsplit(running.url)
    with closing(http.client.HTTPConnection(host.hostname, host.port, timeout=60)) as connection:
        connection.request("HEAD", "/health/live")
        assert connection.getresponse().status < 500
    assert json.loads(httpx.get(f"{running.url}/health/live", timeout=60).text) == {"live": True}
