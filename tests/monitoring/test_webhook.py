import socket
import time

import pytest

from knownat.contract.rules import Webhook
from monitoring.webhook import deliver
from tests.monitoring.hook_server import hook_server

MESSAGE = {"text": "late_arrival: alert"}


def webhook(url, **given):
    return Webhook(url=url, shape="slack", **{"deadline_s": 3.0, "attempts": 3, **given})


class Time:
    """Time that passes at once where somebody sleeps, and is remembered."""

    def __init__(self):
        self.slept = []

    def now(self):
        return time.monotonic() + sum(self.slept)

    def deliver(self, server, **given):
        return deliver(MESSAGE, webhook(server.url, **given), now=self.now, sleep=self.slept.append)


@pytest.mark.parametrize("status", [200, 204])
def test_a_message_arrives_as_json(status):
    with hook_server(status) as server:
        delivery = deliver(MESSAGE, webhook(server.url))

    assert (delivery.arrived, delivery.attempts) == (True, 1)
    assert server.received == [MESSAGE]


@pytest.mark.parametrize("first", [503, 429, "drop"])
def test_what_may_pass_later_is_tried_again(first):
    with hook_server(first, 200) as server:
        delivery = deliver(MESSAGE, webhook(server.url))

    assert (delivery.arrived, delivery.attempts) == (True, 2)
    assert server.received == [MESSAGE, MESSAGE]


@pytest.mark.parametrize("answer", [400, 404, 302])
def test_what_another_try_would_meet_again_is_not_tried_again(answer):
    with hook_server(answer) as server:
        delivery = deliver(MESSAGE, webhook(server.url))

    assert (delivery.arrived, len(server.received)) == (False, 1)
    assert delivery.problem == f"127.0.0.1: it answered {answer} (1 attempts)"


def test_it_gives_up_after_so_many_attempts_with_longer_and_longer_pauses_between():
    time = Time()
    with hook_server(500) as server:
        delivery = time.deliver(server, attempts=4, deadline_s=30.0)

    assert (delivery.arrived, len(server.received)) == (False, 4)
    assert time.slept == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("said", "slept"), [("2", [2.0]), ("-5", [0.25]), ("Wed, 21 Oct 2015 07:28:00 GMT", [0.25])]
)
def test_a_server_that_says_when_to_come_again_is_heeded(said, slept):
    time = Time()
    with hook_server(f"429 {said}", 200) as server:
        delivery = time.deliver(server)

    assert (delivery.arrived, time.slept) == (True, slept)


def test_nobody_waits_for_an_attempt_after_the_deadline():
    time = Time()
    with hook_server("503 9", 200) as server:
        delivery = time.deliver(server, deadline_s=3.0)

    assert (delivery.arrived, len(server.received), time.slept) == (False, 1, [])


def test_the_last_attempt_has_what_is_left_of_the_time():
    time = Time()
    with hook_server("503 299.7", "hang") as server:
        delivery = time.deliver(server, deadline_s=300.0)

    # The server would hang up by itself after five seconds.
    assert "deadline" in delivery.problem or "Timeout" in delivery.problem


@pytest.mark.parametrize("answer", ["hang", "trickle"])
def test_a_server_that_does_not_come_to_an_end_is_left_at_the_deadline(answer):
    with hook_server(answer) as server:
        delivery = deliver(MESSAGE, webhook(server.url, deadline_s=0.3))

    assert not delivery.arrived
    assert "deadline" in delivery.problem or "Timeout" in delivery.problem


def test_an_answer_that_is_no_http_is_a_reason_not_an_error():
    with hook_server("nonsense") as server:
        delivery = deliver(MESSAGE, webhook(server.url, attempts=1))

    assert (delivery.arrived, delivery.problem) == (False, "127.0.0.1: BadStatusLine (1 attempts)")


def test_nobody_there_is_a_reason_not_an_error():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    delivery = deliver(MESSAGE, webhook(f"http://127.0.0.1:{port}/T0/secret", attempts=1))

    assert not delivery.arrived
    assert "ConnectionRefusedError" in delivery.problem
    assert "secret" not in delivery.problem


def test_an_address_may_stand_in_a_variable(monkeypatch):
    with hook_server(200) as server:
        monkeypatch.setenv("ALERTS_URL", server.url)
        assert deliver(MESSAGE, webhook("env:ALERTS_URL")).arrived


@pytest.mark.parametrize("value", [None, "", "file:///etc/passwd"])
def test_a_variable_without_an_address_is_a_reason(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("ALERTS_URL", raising=False)
    else:
        monkeypatch.setenv("ALERTS_URL", value)

    assert deliver(MESSAGE, webhook("env:ALERTS_URL")).problem == (
        "the variable ALERTS_URL holds no http address"
    )
