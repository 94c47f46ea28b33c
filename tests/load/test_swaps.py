"""Releases swapped under load: no request fails, and each answer is one version's own score."""

import json
import time
from collections import defaultdict

import psutil
import pytest

from tests.load.accounts import check_every_answer_is_accounted_for, log_counts
from tests.load.clients import asking
from tests.load.report import tell
from tests.serving.made_workspace import CUSTOMERS, deploy, expected, release
from tests.serving.running import serving
from tests.soak import scale

PATIENCE_SECONDS, RATE = 60, 300


def served(outcome, since):
    """The versions that answered after a moment's number of answers."""
    return {json.loads(body)["version"] for body in outcome.bodies[since:]}


@pytest.mark.parametrize("workers", [1, 2])
def test_swaps_under_load_fail_no_request(made, aim, workers):
    swaps = scale(3, 100) if workers == 1 else scale(2, 20)
    versions = [str(2 + number) for number in range(swaps)]
    releases = {version: release(made, version, trees=5) for version in versions}
    times = psutil.cpu_times()
    with serving(made, "--workers", str(workers)) as running:
        with asking(aim(running), rate=RATE, connections=4 * workers) as outcome:
            for version in versions:
                deploy(made, champion=releases[version])
                deadline = time.monotonic() + PATIENCE_SECONDS
                since = len(outcome.bodies)
                while version not in served(outcome, since) and time.monotonic() < deadline:
                    since = max(0, len(outcome.bodies) - 50)
                    time.sleep(0.02)
        tell(f"{swaps} swaps, {workers} workers", outcome, times, swaps=swaps)
        counts = log_counts(running.said["admin"])

    by_version = defaultdict(list)
    for body in outcome.bodies:
        answer = json.loads(body)
        by_version[answer["version"]].append((int(answer["request_id"]), answer["predictions"][0]["score"]))
    assert outcome.statuses == {200: outcome.total}
    assert outcome.broken == 0
    assert set(by_version) - {"1"} == set(versions)
    for version, found in by_version.items():
        if version != "1":
            scores = expected(made, releases[version], range(CUSTOMERS))
            assert max(abs(score - scores[customer]) for customer, score in found) <= 1e-12
    check_every_answer_is_accounted_for([outcome], made.workspace.predictions, counts)
