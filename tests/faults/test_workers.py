"""Several workers on one port: each with its own journal, restarted when killed, drained together."""

import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from knownat.contract.log_reader import journals_in, read_predictions
from tests.faults.processes import alive
from tests.serving.made_workspace import MODEL, make_workspace
from tests.serving.running import fill_lmdb, serving

ALWAYS = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}
PREDICT = f"/v1/models/{MODEL}/predict"
BODY = {"keys": {"customer": 3}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"))
    fill_lmdb(made)
    return made


def writer_of(prediction_id):
    return prediction_id.split(".")[1][:16]


def answered(url, stop, into):
    """Ask on ever new connections, so that every worker gets some; note what was answered."""
    while not stop.is_set():
        try:
            answer = httpx.post(url + PREDICT, json=BODY, timeout=30)
        except httpx.TransportError:
            continue  # The worker that had accepted it was killed.
        into.append(answer.json()["predictions"][0]["prediction_id"])


def test_a_killed_worker_is_replaced_and_loses_no_answer(made):
    ids: list[str] = []
    stop = threading.Event()
    with serving(made, "--workers", "2", "--drain-seconds", "600") as running:
        threads = [threading.Thread(target=answered, args=(running.url, stop, ids)) for _ in range(3)]
        for thread in threads:
            thread.start()
        while len({writer_of(i) for i in ids}) < 2:
            pass
        before = {writer_of(i) for i in ids}
        os.kill(worker(running), signal.SIGKILL)
        while len({writer_of(i) for i in ids}) < 3:
            pass
        stop.set()
        for thread in threads:
            thread.join()
        running.process.send_signal(signal.SIGTERM)
        while httpx.get(f"{running.url}/health/ready", timeout=30).status_code == 200:
            pass
        # Each worker waits for balancers to look elsewhere; a second signal is for all of them, too.
        running.process.send_signal(signal.SIGTERM)
        code = running.process.wait(timeout=60)

    log = read_predictions(made.workspace.predictions, MODEL, **ALWAYS)["prediction_id"].to_pylist()
    assert code == 0
    assert len({writer_of(i) for i in ids} - before) == 1
    assert set(ids) <= set(log)
    assert len(set(log)) == len(log)


def worker(running):
    """Find a process that listens: the supervisor's own helpers do not map the model."""
    for pid in running.children():
        if "lib_lightgbm" in Path(f"/proc/{pid}/maps").read_text():
            return pid
    raise AssertionError("no worker has loaded a model")


def test_workers_end_when_their_supervisor_is_killed(made):
    with serving(made, "--workers", "2") as running:
        pids = running.children()
        running.process.kill()
        running.process.wait()
        while any(alive(pid) for pid in pids):
            pass

    assert journals_in(made.workspace.predictions / MODEL / "1") == []


def test_what_keeps_a_worker_from_starting_is_said(made, run_knownat):
    deployment = made.workspace.deployment
    kept = deployment.read_text()
    deployment.write_text(kept.replace('"version": "1"', '"version": "nowhere"'))
    try:
        done = run_knownat("serve", "--repo", str(made.workspace.repo), "--port", "0", "--workers", "2")
    finally:
        deployment.write_text(kept)

    assert done.returncode == 2
    assert done.stdout == ""
    assert "basket: version nowhere is refused" in done.stderr
    assert "manifest.json cannot be read" in done.stderr
    # Said by the supervisor, which was told so by a worker.
    assert "names nothing that can be served" in done.stderr
