import socket

import pytest

from knownat.contract.rules import Webhook
from monitoring.webhook import deliver
from tests.monitoring.hook_server import hook_server

MESSAGE = {"text": "late_arrival: alert"}


def webhook(url, **given):
    return Webhook(url=url, shape="slack", **{"deadline_s": 3.0, "attempts": 3, **given})


def test_a_message_arrives_as_json():
    with hook_server(200) as server:
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


def test_it_gives_up_after_so_many_attempts():
    with hook_server(500) as server:
        delivery = deliver(MESSAGE, webhook(server.url, attempts=2))

    assert (delivery.arrived, len(server.received)) == (False, 2)


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
