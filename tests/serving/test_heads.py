"""Heads that are too long or too late, on a connection whose clock only the test moves."""

from dataclasses import dataclass, field

import pytest
import uvicorn
from uvicorn.server import ServerState

from serving.heads import HEAD_SECONDS, MOST_HEAD_BYTES, BoundedHeads
from serving.pressure import Pressure

HEAD = b"POST /v1/labels HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass
class Timer:
    seconds: float
    call: object
    cancelled: bool = False

    def cancel(self):
        self.cancelled = True


class Task:
    def add_done_callback(self, _):
        pass


@dataclass
class Loop:
    """Keeps timers until the test lets time pass; begins no task."""

    timers: list[Timer] = field(default_factory=list)
    begun: int = 0

    def call_later(self, seconds, call, *given):
        self.timers.append(Timer(seconds, lambda: call(*given)))
        return self.timers[-1]

    def create_task(self, coroutine):
        coroutine.close()
        self.begun += 1
        return Task()


@dataclass
class Line:
    """The transport: what was written, and whether it is open."""

    sent: bytes = b""
    closing: bool = False

    def write(self, content):
        self.sent += content

    def close(self):
        self.closing = True

    def is_closing(self):
        return self.closing

    def get_extra_info(self, _):
        return None

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


class Connection:
    """One client's connection to a scorer, which has been open for no time."""

    def __init__(self):
        self.loop, self.line = Loop(), Line()

        async def app(_scope, _receive, _send):
            raise AssertionError

        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)
        self.protocol = BoundedHeads(config, ServerState(), {}, _loop=self.loop, pressure=Pressure())
        self.protocol.connection_made(self.line)

    def send(self, *packets):
        for packet in packets:
            self.protocol.data_received(packet)

    def answered(self):
        """What the server does once its answer has left."""
        cycle = self.protocol.cycle
        cycle.response_started = cycle.response_complete = True
        cycle.on_response()

    def let_time_pass(self):
        """Let the bound of a head pass, as far as anything waits for it."""
        for timer in self.loop.timers:
            if timer.seconds == HEAD_SECONDS and not timer.cancelled:
                timer.call()


@pytest.fixture
def connection():
    return Connection()


@pytest.mark.parametrize(
    "sent", [[], [b"P"], [b"POST / HTTP/1.1\r\n", b"host: x\r\n"]], ids=["nothing", "a letter", "lines"]
)
def test_a_head_that_does_not_come_is_given_up(connection, sent):
    connection.send(*sent)
    connection.let_time_pass()

    assert (connection.line.sent, connection.line.closing) == (LATE, True)


def test_who_drips_gains_no_time(connection):
    connection.send(b"POST / HTTP/1.1\r\n", *(b"x-%d: y\r\n" % number for number in range(9)))

    assert [timer.seconds for timer in connection.loop.timers] == [HEAD_SECONDS]


def test_a_whole_head_is_waited_for_no_more(connection):
    connection.send(HEAD % 9)
    connection.let_time_pass()

    assert (connection.loop.begun, connection.line.sent, connection.line.closing) == (1, b"", False)


def test_the_next_head_has_its_own_time_and_length(connection):
    connection.send(b"POST / HTTP/1.1\r\nx: ", b"y" * 1_000, b"\r\ncontent-length: 0\r\n\r\n")
    connection.answered()
    connection.let_time_pass()
    assert not connection.line.closing

    connection.send(b"POST / HTTP/1.1\r\n", b"x: " + b"y" * (MOST_HEAD_BYTES - 20))
    assert connection.line.sent == b""
    connection.let_time_pass()

    assert connection.line.sent == LATE


@pytest.mark.parametrize(("filled", "sent"), [(0, b""), (1, LONG)], ids=["at the bound", "beyond it"])
def test_a_head_is_held_to_its_length_though_it_never_ends(connection, filled, sent):
    start = b"POST / HTTP/1.1\r\nx: "
    connection.send(start, b"y" * 1_000, b"y" * (MOST_HEAD_BYTES - len(start) - 1_000 + filled))

    assert (connection.line.sent, connection.line.closing) == (sent, bool(sent))
    # It is told once, and nobody waits for the rest.
    if sent:
        connection.send(b"y")
        connection.let_time_pass()
        assert connection.line.sent == LONG


def test_a_long_body_is_none_of_a_head(connection):
    body = b"b" * (2 * MOST_HEAD_BYTES)
    connection.send(HEAD % len(body), body)
    assert connection.line.sent == b""
    connection.answered()

    # Sent on without waiting: the end of one request and the beginning of the next in one packet.
    connection.send(HEAD % len(body) + body + b"POST / HTTP/1.1\r\n", b"host: x\r\n\r\n")
    connection.answered()
    connection.send(HEAD % len(body), body + b"POST / HTTP/1.1\r\n")
    assert connection.line.sent == b""
    connection.send(b"x: " + b"y" * MOST_HEAD_BYTES)

    assert connection.line.sent == LONG


def test_a_connection_that_is_gone_is_told_nothing(connection):
    connection.send(b"POST / HTTP/1.1\r\n")
    connection.protocol.connection_lost(None)

    assert [timer.cancelled for timer in connection.loop.timers] == [True]
    assert connection.line.sent == b""


def test_a_connection_that_is_being_closed_is_told_nothing(connection):
    connection.send(b"POST / HTTP/1.1\r\n")
    connection.line.close()
    connection.let_time_pass()

    assert connection.line.sent == b""
