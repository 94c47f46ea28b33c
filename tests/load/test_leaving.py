"""Versions that leave under traffic: callers are told in time and pointed on, others notice nothing."""

import json
import time
from datetime import timedelta

from knownat.clock import from_us
from tests.load.accounts import check_every_answer_is_accounted_for, log_counts
from tests.load.clients import asking
from tests.load.conftest import PREDICT
from tests.serving.made_workspace import MODEL, NOW_US, deploy, deployed, release
from tests.serving.running import serving
from tests.soak import scale

PATIENCE_SECONDS, RATE = 60, 200


def wait_for(holds):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)


def is_one_way(outcome):
    """Whether 200s came first and 410s after; requests on their way at the change may cross."""
    statuses = [status for _, status in outcome.answered_at]
    return set(statuses[statuses.index(410) + 8 :]) == {410}


def test_a_version_in_use_is_retired_by_force_only_and_its_callers_are_pointed_on(made, aim, run_knownat):
    old, new = release(made, "1b"), release(made, "2")
    deploy(made, champion=new, pinned=(deployed(old),))
    pinned = f"/v1/models/{MODEL}/versions/1b/predict"
    repo = ["--repo", str(made.workspace.repo), "--clock", f"file:{made.workspace.home / 'clock'}"]
    with serving(made) as running:
        with (
            asking(aim(running, pinned), rate=RATE, connections=2) as callers,
            asking(aim(running), rate=RATE, connections=2) as others,
        ):
            wait_for(lambda: callers.statuses[200] > 50)
            refused = run_knownat("retire", MODEL, "1b", *repo)
            done = run_knownat("retire", MODEL, "1b", "--force", *repo)
            wait_for(lambda: callers.statuses[410] > scale(50, 2_000))
        counts = log_counts(running.said["admin"])

    assert refused.returncode == 2
    assert "Version 1b of 'basket' answered" in refused.stderr
    assert done.returncode == 0
    assert set(callers.statuses) == {200, 410}
    assert is_one_way(callers)
    gone = json.loads(callers.bodies[-1])["error"]
    assert gone["details"] == [{"successor": PREDICT, "version": "2"}]
    assert callers.headers[410][b"link"] == f'<{PREDICT}>; rel="successor-version"'.encode()
    assert others.statuses == {200: others.total}
    check_every_answer_is_accounted_for([callers, others], made.workspace.predictions, counts)


def test_a_sunset_is_announced_before_it_comes_and_kept_when_it_does(made, aim):
    sunset = from_us(NOW_US) + timedelta(minutes=5)
    old, new = release(made, "1c", sunset=sunset), release(made, "2")
    deploy(made, champion=new, pinned=(deployed(old),))
    pinned = f"/v1/models/{MODEL}/versions/1c/predict"
    with serving(made) as running:
        with (
            asking(aim(running, pinned), rate=RATE, connections=2) as callers,
            asking(aim(running), rate=RATE, connections=2) as others,
        ):
            wait_for(lambda: callers.statuses[200] > scale(50, 2_000))
            running.clock.move_to(NOW_US + 300_000_000)
            wait_for(lambda: callers.statuses[410] > scale(50, 2_000))
        counts = log_counts(running.said["admin"])

    assert set(callers.statuses) == {200, 410}
    assert is_one_way(callers)
    assert callers.headers[200][b"sunset"] == b"Mon, 01 Jan 2024 00:05:00 GMT"
    assert callers.headers[200][b"link"] == f'<{PREDICT}>; rel="successor-version"'.encode()
    assert json.loads(callers.bodies[-1])["error"]["details"] == [{"successor": PREDICT, "version": "2"}]
    assert others.statuses == {200: others.total}
    assert b"sunset" not in others.headers[200]
    check_every_answer_is_accounted_for([callers, others], made.workspace.predictions, counts)
