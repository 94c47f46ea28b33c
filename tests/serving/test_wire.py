"""Answers that leave in one piece, and the same answers where the server cannot do that."""

import asyncio
import socket
from contextlib import contextmanager

import pytest

from serving.pressure import AHEAD
from serving.wire import EXTENSION, send_whole
from tests.serving.connections import Connection, Gathered
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


REQUEST = b"POST /v1/labels HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


def test_a_request_learns_how_many_were_before_it():
    connection = Connection()
    connection.pressure.waiting = 7
    connection.send(REQUEST)

    assert connection.protocol.cycle.scope["extensions"][AHEAD] == 7
    connection.run()


@pytest.mark.parametrize("fails", [False, True], ids=["answered", "failed"])
def test_a_request_is_pressure_from_its_head_to_the_end_of_its_task(fails):
    async def app(_scope, _receive, send):
        assert connection.pressure.waiting == 1
        if fails:
            raise RuntimeError
        await send_whole({}, send, [], b"")

    connection = Connection(app)
    connection.send(REQUEST[:-2])
    assert connection.pressure.waiting == 1

    connection.send(REQUEST[-2:])
    connection.run()

    assert connection.pressure.waiting == 0
    assert connection.line.sent.startswith(b"HTTP/1.1 500" if fails else b"HTTP/1.1 200")


ENDS = {
    "answered": lambda call: call.answer([], b"ok"),
    "left": lambda call: call.leave(sends_ok),
    "dismissed": lambda call: call.dismiss(sends_ok),
}


async def sends_ok(_scope, _receive, send):
    await send_whole({}, send, [], b"ok")


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_call_is_pressure_until_it_is_over(end):
    gathered = Gathered()
    connection = Connection(gathering=gathered)
    connection.send(REQUEST)
    (call,) = gathered.calls
    assert (call.body, call.over, connection.pressure.waiting) == (b"{}", False, 1)

    end(call)
    connection.run()

    assert (call.over, connection.pressure.waiting) == (True, 0)
    assert connection.line.sent.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    ("gathered", "packets"),
    [
        (Gathered(taken=False), [REQUEST]),
        (Gathered(most_bytes=1), [REQUEST]),
        (Gathered(), [REQUEST[:-1], REQUEST[-1:]]),
        (None, [REQUEST]),
    ],
    ids=["another path", "too long", "in pieces", "nobody gathers"],
)
def test_what_is_not_gathered_is_answered_by_the_app(gathered, packets):
    connection = Connection(gathering=gathered)
    connection.send(*packets)
    connection.run()

    assert gathered is None or gathered.calls == []
    assert connection.line.sent.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    "state",
    [{"response_started": True}, {"disconnected": True}, {"keep_alive": False}, {"write_paused": True}],
    ids=str,
)
def test_an_answer_is_not_written_at_once_where_the_server_must_see_to_it(state):
    gathered = Gathered()
    connection = Connection(gathering=gathered)
    connection.send(REQUEST)
    cycle = connection.protocol.cycle
    for name, value in state.items():
        setattr(cycle.flow if name == "write_paused" else cycle, name, value)

    (call,) = gathered.calls
    assert not call.answer([], b"ok")
    assert (call.over, connection.line.sent) == (False, b"")


def test_the_refused_are_no_pressure_until_they_are_told():
    gathered = Gathered()
    connection = Connection(gathering=gathered)
    connection.send(REQUEST)

    gathered.calls[0].dismiss(sends_ok)

    assert connection.pressure.waiting == 0
    connection.run()
