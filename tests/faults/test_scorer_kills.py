"""A scorer killed again and again under load, and one whose disk is full for a while: its books balance."""

import random
import resource
import sys
import threading
import time
from datetime import UTC, datetime

import httpx
import pytest

from knownat.contract.log_reader import journals_in, read_parts, read_predictions
from serving.prediction_log import LogBook
from tests.faults.test_scorer import PREDICT as BASKET
from tests.faults.test_scorer import logged as fakes_logged
from tests.faults.test_scorer import scorer
from tests.serving.fakes import ROW
from tests.serving.made_workspace import MODEL, make_workspace
from tests.serving.running import fill_lmdb, serving
from tests.soak import SOAKING, scale

ALWAYS = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}
PREDICT = f"/v1/models/{MODEL}/predict"
# On a busy machine a request is not to fail for being late: that is not what is asked here.
PATIENT = {"deadline_ms": 60_000}
SIZES = (1, 1, 7, 60)


def ask_until_it_dies(url, rows, into, begun):
    """Ask on one connection; note every prediction that was answered."""
    body = {"rows": [{"keys": {"customer": c}} for c in range(rows)]}
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            while True:
                answer = client.post(PREDICT, json=body)
                into.append([p["prediction_id"] for p in answer.json()["predictions"]])
                begun.set()
    except httpx.TransportError:
        return


def test_every_answered_prediction_is_in_the_log_once_however_often_the_scorer_is_killed(tmp_path):
    made = make_workspace(tmp_path, serving=PATIENT)
    fill_lmdb(made)
    dice, answered, kills = random.Random(5), [], scale(2, 50)
    for _ in range(kills):
        with serving(made) as running:
            begun = [threading.Event() for _ in SIZES]
            threads = [
                threading.Thread(target=ask_until_it_dies, args=(running.url, rows, answered, event))
                for rows, event in zip(SIZES, begun, strict=True)
            ]
            for thread in threads:
                thread.start()
            for event in begun:
                event.wait()
            time.sleep(dice.random() * 0.3)
            running.process.kill()
            for thread in threads:
                thread.join()
    ids = [i for some in answered for i in some]
    before = read_predictions(made.workspace.predictions, MODEL, **ALWAYS)["prediction_id"].to_pylist()
    recovered = LogBook(made.workspace.predictions)
    recovered.start()
    recovered.close()
    after = read_predictions(made.workspace.predictions, MODEL, **ALWAYS)["prediction_id"].to_pylist()
    folder = made.workspace.predictions / MODEL / "1"

    assert len({i.split(".")[1][:16] for i in ids}) == kills
    assert len(set(after)) == len(after)
    assert set(ids) <= set(after)
    assert sorted(before) == sorted(after)
    assert journals_in(folder) == []
    if SOAKING:
        torn = sum(part.torn_bytes for part in read_parts(folder))
        sys.stderr.write(f"\nkills={kills} answered={len(ids)} logged={len(after)} torn_bytes={torn}\n")


@pytest.mark.parametrize("askers", [4])
def test_a_disk_that_is_full_for_a_while_costs_rows_that_are_counted_and_no_answer(tmp_path, askers):
    rows = [1, 3, 20] * scale(4, 400)
    answers: list[int] = []

    def ask(client):
        for count in rows:
            answer = client.post(BASKET, json={"rows": [ROW] * count})
            answers.append(len(answer.json()["predictions"]) if answer.status_code == 200 else -1)

    def everyone_asks(url):
        clients = [httpx.Client(base_url=url, timeout=60) for _ in range(askers)]
        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()

    with scorer(tmp_path, "--file-limit", "20000") as (process, client, admin):
        everyone_asks(client.base_url)
        full = books(admin)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        everyone_asks(client.base_url)
        after = books(admin)
        health = client.get("/health/ready").json()["log"]
        process.terminate()
        code = process.wait(timeout=60)

    each = sum(rows) * askers
    assert min(answers) > 0
    assert sum(answers) == after["accepted"] == 2 * each
    assert full["accepted"] == each == full["written"] + full["dropped"]
    assert full["dropped"] > 0
    assert after["dropped"] == full["dropped"]
    assert after["written"] == full["written"] + each
    assert (health, code) == ("writable", 0)
    assert len(fakes_logged(tmp_path)) == after["written"]
    if SOAKING:
        sys.stderr.write(f"\nfull: {full} after: {after}\n")


def books(admin):
    """What the scorer says became of every row."""
    found = dict.fromkeys(("accepted", "written", "dropped"), 0)
    for line in httpx.get(f"{admin}/metrics", timeout=60).text.splitlines():
        for name in found:
            if line.startswith(f"knownat_log_{name}_total"):
                found[name] += int(float(line.rsplit(" ", 1)[1]))
    return found
