"""Heads that are too long or too late, on a connection whose clock only the test moves."""

import pytest

from serving.heads import HEAD_SECONDS, MOST_HEAD_BYTES
from tests.serving.connections import Connection

HEAD = b"POST /v1/labels HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


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

    assert (connection.line.sent, connection.line.closing) == (b"", False)
    connection.run()


def test_the_next_head_has_its_own_time_and_length(connection):
    connection.send(b"POST / HTTP/1.1\r\nx: ", b"y" * 1_000, b"\r\ncontent-length: 0\r\n\r\n")
    connection.run()
    connection.let_time_pass()
    assert not connection.line.closing
    answered = connection.line.sent

    connection.send(b"POST / HTTP/1.1\r\n", b"x: " + b"y" * (MOST_HEAD_BYTES - 20))
    assert connection.line.sent == answered
    connection.let_time_pass()

    assert connection.line.sent == answered + LATE


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
    connection.run()
    answer = connection.line.sent

    # Sent on without waiting: the end of one request and the beginning of the next in one packet.
    connection.send(HEAD % len(body) + body + b"POST / HTTP/1.1\r\n", b"host: x\r\n\r\n")
    connection.run()
    connection.send(HEAD % len(body), body + b"POST / HTTP/1.1\r\n")
    connection.run()
    assert connection.line.sent == answer * 4
    connection.send(b"x: " + b"y" * MOST_HEAD_BYTES)

    assert connection.line.sent == answer * 4 + LONG


def test_a_late_head_is_not_given_up_before_the_request_ahead_of_it_is_answered(connection):
    connection.send(b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n")
    connection.let_time_pass()
    assert (connection.line.sent, connection.line.closing) == (b"", False)

    connection.run()
    answer = connection.line.sent
    connection.let_time_pass()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert connection.line.sent == answer + LATE


def test_a_long_head_is_not_taken_for_the_answer_to_the_request_ahead_of_it(connection):
    connection.send(b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n", b"x: " + b"y" * MOST_HEAD_BYTES)

    assert (connection.line.sent, connection.line.closing) == (b"", True)
    connection.run()


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
