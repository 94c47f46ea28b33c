"""Answers that leave in one piece, and the same answers where the server cannot do that."""

import asyncio
import socket
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from serving.pressure import Pressure
from serving.wire import EXTENSION, Call, send_whole
from tests.serving.made_workspace import MODEL, make_workspace
from tests.serving.running import fill_lmdb, serving

PATH = f"/v1/models/{MODEL}/predict"
BODY = b'{"keys": {"customer": 3}, "request_id": "r"}'


def request(version="1.1", *headers):
    lines = [f"POST {PATH} HTTP/{version}", "host: localhost", f"content-length: {len(BODY)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + BODY


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"))
    fill_lmdb(made)
    with serving(made) as running:
        yield running.url


@contextmanager
def connected(url):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        yield connection


def read_answer(file):
    """Read one answer: status line, headers by name, and body."""
    status = file.readline().decode().strip()
    headers = dict(line.strip().split(": ", 1) for line in iter(lambda: file.readline().decode(), "\r\n"))
    return status, headers, file.read(int(headers["content-length"]))


def test_an_answer_is_one_piece(url):
    with connected(url) as connection:
        connection.sendall(request())
        piece = connection.recv(65_536)

    head, _, body = piece.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ndate: " in head
    assert b"\r\ncontent-type: application/json\r\n" in head
    assert body.startswith(b'{"model":"basket","version":"1","request_id":"r"')
    assert f"content-length: {len(body)}".encode() in head


def test_requests_sent_at_once_are_answered_in_order_on_one_connection(url):
    with connected(url) as connection, connection.makefile("rb") as file:
        connection.sendall(request() * 3)
        answers = [read_answer(file) for _ in range(3)]

    assert [status for status, _, _ in answers] == ["HTTP/1.1 200 OK"] * 3
    assert len({body for _, _, body in answers}) == 3


@pytest.mark.parametrize(("version", "headers"), [("1.0", ()), ("1.1", ("connection: close",))])
def test_a_connection_that_is_not_kept_is_closed_after_its_answer(url, version, headers):
    with connected(url) as connection, connection.makefile("rb") as file:
        connection.sendall(request(version, *headers))
        status, told, body = read_answer(file)
        rest = file.read()

    assert status == "HTTP/1.1 200 OK"
    assert told["connection"] == "close"
    assert body.endswith(b"}")
    assert rest == b""


def test_a_body_that_is_waited_for_is_told_to_come(url):
    with connected(url) as connection, connection.makefile("rb") as file:
        connection.sendall(request("1.1", "expect: 100-continue").removesuffix(BODY))
        first = [file.readline(), file.readline()]
        connection.sendall(BODY[:7])
        connection.sendall(BODY[7:])
        status, _, body = read_answer(file)

    assert first == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
    assert status == "HTTP/1.1 200 OK"
    assert body.endswith(b"}")


EVENTS = [
    {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b"), (b"content-length", b"4")]},
    {"type": "http.response.body", "body": b"body"},
]


@pytest.mark.parametrize(
    ("scope", "events"),
    [
        ({}, EVENTS),
        ({"extensions": {}}, EVENTS),
        ({"extensions": {EXTENSION: lambda headers, body: False}}, EVENTS),
        ({"extensions": {EXTENSION: lambda headers, body: True}}, []),
    ],
    ids=["no extensions", "other extensions", "refused", "taken"],
)
def test_what_the_server_does_not_take_whole_is_sent_as_events(scope, events):
    sent = []

    async def send(event):
        sent.append(event)

    asyncio.run(send_whole(scope, send, [(b"a", b"b")], b"body"))

    assert sent == events


def test_the_refused_are_no_pressure_until_they_are_told():
    pressure, begun = Pressure(waiting=1), []
    protocol = SimpleNamespace(pressure=pressure, begin_uncounted=lambda cycle, app: begun.append(app))
    call = Call(protocol, SimpleNamespace(body=bytearray(), scope={}))

    call.dismiss("an app")

    assert (pressure.waiting, begun) == (0, ["an app"])
