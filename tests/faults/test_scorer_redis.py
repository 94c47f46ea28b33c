"""A scorer whose Redis is paused, killed and restarted empty: every reply in time, honest, soon well."""

import time

import httpx
import pytest

from knownat.contract.release import read_release
from knownat.stores.redis_rows import RedisRows
from tests.serving.made_workspace import MODEL, expected, fill, make_workspace
from tests.serving.running import serving
from tests.soak import scale
from tests.stores.packed.redis_server import RedisServer

SETTINGS = """\
project: shop
provider: local
registry: {{registry_type: sql, path: sqlite:///data/registry.db}}
offline_store: {{type: duckdb}}
online_store:
  type: knownat.stores.redis_online.RedisOnlineStore
  connection_string: 127.0.0.1:{port}
"""
CUSTOMERS = (3, 5, 8)


@pytest.fixture
def redis(tmp_path):
    with RedisServer(tmp_path) as server:
        yield server


def filled(made, redis):
    rows = RedisRows(redis.url, socket_seconds=5, read_deadline_seconds=5)
    fill(made, rows)
    rows.close()


def ask(client, customer):
    return client.post(f"/v1/models/{MODEL}/predict", json={"keys": {"customer": customer}})


def statuses(client, customer=3):
    answer = ask(client, customer)
    if answer.status_code != 200:
        return {answer.json()["error"]["code"]}
    return {view["status"] for view in answer.json()["predictions"][0]["views"].values()}


def until(client, wanted):
    """Ask until the answers are as wanted; a test that never gets there ends at the suite's own limit."""
    while statuses(client) != wanted:
        time.sleep(0.01)


def until_connected(client):
    """Ask until the store answers, so that what follows is the answer of an empty one."""
    while "lost its rows" not in client.get("/health/ready").text:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("policy", "during"),
    [("refuse", "store_unavailable"), ("nulls", "unavailable"), ("last_known", "last_known")],
)
def test_every_reply_is_honest_and_the_store_is_taken_up_again(tmp_path, redis, policy, during):
    made = make_workspace(
        tmp_path / "made",
        settings=SETTINGS.format(port=redis.port),
        serving={"when_store_fails": policy, "deadline_ms": 200},
    )
    filled(made, redis)
    # The client's own limit is far above the deadline, so a hang is an error and not a slow pass.
    with serving(made) as running, httpx.Client(base_url=running.url, timeout=5) as client:
        scores = [ask(client, c).json()["predictions"][0]["score"] for c in CUSTOMERS]

        redis.pause()
        paused = {status for _ in range(scale(20, 2_000)) for status in statuses(client)}
        live = client.get("/health/live").status_code
        redis.resume()
        until(client, {"present"})

        redis.kill()
        killed = {status for _ in range(scale(20, 2_000)) for status in statuses(client)}
        ready = client.get("/health/ready").status_code

        redis.start()
        until_connected(client)
        emptied = {status for _ in range(scale(20, 2_000)) for status in statuses(client)}
        lost = client.get("/health/ready").json()["store"][MODEL]
        filled(made, redis)
        until(client, {"present"})
        again = [ask(client, c).json()["predictions"][0]["score"] for c in CUSTOMERS]

    assert paused == killed == emptied == {during}
    assert (live, ready) == (200, 503)
    assert lost == "not readable: the store has lost its rows"
    assert again == scores
    served = read_release(made.workspace.releases / MODEL / "1")
    assert scores == pytest.approx(expected(made, served, CUSTOMERS), abs=1e-12)
