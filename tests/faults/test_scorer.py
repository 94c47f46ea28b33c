"""The scorer as a process: killed, told to stop, out of disk, redeployed."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from knownat.contract.log_reader import journals_in, read_parts, read_predictions
from knownat.errors import ConfigError
from serving.addresses import bind_admin, bind_public
from serving.prediction_log import LogBook
from tests.serving.fakes import ROW, deploy

ALWAYS = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}
PREDICT = "/v1/models/basket/predict"


@contextmanager
def scorer(root: Path, *options: str):
    """Start a scorer; give its process, a client and its admin address; whatever happens, it ends."""
    # A test that imported Feast leaves this behind; `knownat serve` drops it before it counts anything.
    environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.scorer_process", str(root), *options],
        stdout=subprocess.PIPE,
        # Not to a file of pytest's: the limit on file sizes would hold for it as well.
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        port, admin = process.stdout.readline().split()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield process, client, f"http://127.0.0.1:{admin}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def answered(client, rows=1):
    """Ask until the scorer is gone; return the ids of every answer that arrived."""
    ids = []
    try:
        while True:
            answer = client.post(PREDICT, json={"rows": [ROW] * rows})
            ids += [p["prediction_id"] for p in answer.json()["predictions"]]
    except httpx.TransportError:
        return ids


def logged(root):
    return read_predictions(root / "predictions", "basket", **ALWAYS)["prediction_id"].to_pylist()


@pytest.mark.parametrize("after", [10, 45])
def test_a_killed_scorer_has_logged_everything_it_answered(tmp_path, after):
    found: list[list[str]] = []
    with scorer(tmp_path) as (process, client, _):
        clients = [httpx.Client(base_url=client.base_url, timeout=30) for _ in range(3)]
        threads = [
            threading.Thread(target=lambda c=c, n=n: found.append(answered(c, rows=n)))
            for c, n in zip(clients, (1, 2, 40), strict=True)
        ]
        for thread in threads:
            thread.start()
        while len(logged(tmp_path)) < after:
            pass
        process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
        for one in clients:
            one.close()

    ids = [i for some in found for i in some]
    before = logged(tmp_path)
    recovered = LogBook(tmp_path / "predictions")
    recovered.start()
    recovered.close()

    assert set(ids) <= set(before)
    assert len(before) == len(set(before))
    assert logged(tmp_path) == before
    assert journals_in(tmp_path / "predictions" / "basket" / "1") == []


def test_a_scorer_told_to_stop_answers_what_it_began_and_ends_with_zero(tmp_path):
    with scorer(tmp_path, "--slow", "1", "--drain-seconds", "0.5") as (process, client, _):
        running: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: running.append(client.post(PREDICT, json=ROW)))
        thread.start()
        process.send_signal(signal.SIGTERM)
        while client.get("/health/ready").status_code == 200:
            pass
        during = client.get("/health/live").status_code
        thread.join()
        code = process.wait(timeout=30)

    assert (running[0].status_code, during, code) == (200, 200, 0)
    assert logged(tmp_path) == [running[0].json()["predictions"][0]["prediction_id"]]
    assert journals_in(tmp_path / "predictions" / "basket" / "1") == []


def test_a_second_signal_cuts_the_wait_short_and_the_end_is_still_zero(tmp_path):
    with scorer(tmp_path, "--drain-seconds", "600") as (process, client, _):
        process.send_signal(signal.SIGINT)
        while client.get("/health/ready").status_code == 200:
            pass
        answer = client.post(PREDICT, json=ROW)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)

    assert (answer.status_code, code) == (200, 0)
    assert "server" not in answer.headers


def test_a_full_disk_loses_rows_by_name_and_no_answer(tmp_path):
    with scorer(tmp_path, "--file-limit", "20000") as (process, client, admin):
        answers = [client.post(PREDICT, json={"rows": [ROW] * rows}) for rows in (1, 5, 10) * 8]
        metrics = httpx.get(f"{admin}/metrics").text
        ready = client.get("/health/ready")
        before = logged(tmp_path)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)

    def count(what):
        return sum(
            float(x.rsplit(" ", 1)[1])
            for x in metrics.splitlines()
            if x.startswith(f"knownat_log_{what}_total")
        )

    assert {answer.status_code for answer in answers} == {200}
    assert count("accepted") == 8 * 16
    assert count("accepted") == count("written") + count("dropped")
    assert count("dropped") > 0
    assert 'knownat_log_dropped_total{log="basket/1",reason="EFBIG"}' in metrics
    assert (ready.status_code, ready.json()["log"]) == (200, {"basket/1": "EFBIG"})
    assert len(before) == count("written")
    assert code == 0
    assert logged(tmp_path) == before
    assert sum(part.torn_bytes for part in read_parts(tmp_path / "predictions" / "basket" / "1")) == 0


def test_a_running_scorer_takes_up_what_is_promoted(tmp_path):
    with scorer(tmp_path) as (_, client, _):
        first = client.post(PREDICT, json=ROW).json()["version"]
        deploy(tmp_path, version="2")
        versions = {first}
        while "2" not in versions:
            versions.add(client.post(PREDICT, json=ROW).json()["version"])

    assert versions == {"1", "2"}


def test_a_slow_read_does_not_stop_the_answer_to_a_health_check(tmp_path):
    with scorer(tmp_path, "--slow", "2") as (_, client, _):
        order: list[str] = []
        thread = threading.Thread(target=lambda: (client.post(PREDICT, json=ROW), order.append("predict")))
        thread.start()
        for _ in range(3):
            client.get("/health/live")
            order.append("live")
        thread.join()

    assert order == ["live", "live", "live", "predict"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_needs_keys(host):
    with pytest.raises(ConfigError, match="there are no keys"):
        bind_public(host, 0, keys=None)


def test_with_keys_others_may_reach_it(tmp_path):
    bound = bind_public("0.0.0.0", 0, keys=tmp_path / "keys.json")

    with bound, socket.create_connection(("127.0.0.1", bound.getsockname()[1]), timeout=30) as client:
        assert bound.getsockname()[0] == "0.0.0.0"
        assert client.getpeername()[1] == bound.getsockname()[1]


def test_a_taken_port_is_named():
    (first,) = bind_admin(0, 1)
    port = first.getsockname()[1]

    with pytest.raises(ConfigError, match=f"127.0.0.1:{port}:\n- cannot be bound"):
        bind_public("127.0.0.1", port, keys=None)
    first.close()


def test_operators_ask_on_loopback_only():
    bound = bind_admin(0, 2)

    assert [one.getsockname()[0] for one in bound] == ["127.0.0.1", "127.0.0.1"]
    for one in bound:
        one.close()
