"""A release that never ends its trial: the scorer serves on, and its own end does not wait for it."""

import contextlib
import hashlib
import json
import re
import shutil
import signal
import threading

import httpx
import pytest

from knownat.contract.release import MANIFEST, Deployed, Deployment, ModelDeployment, write_deployment
from tests.faults.processes import alive
from tests.serving.made_workspace import MODEL, make_workspace
from tests.serving.running import fill_lmdb, serving

PREDICT = f"/v1/models/{MODEL}/predict"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"))
    fill_lmdb(made)
    release_with_a_cycle(made.workspace.releases / MODEL / "1")
    return made


def release_with_a_cycle(good):
    """Copy a release; in the copy's first tree the way to the left of the root leads to the root."""
    folder = good.with_name("endless")
    shutil.copytree(good, folder)
    model = re.sub(rb"left_child=\S+", b"left_child=0", (folder / "model.txt").read_bytes(), count=1)
    (folder / "model.txt").write_bytes(model)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["version"] = "endless"
    manifest["files"]["model.txt"] = hashlib.sha256(model).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def promote_endless(made):
    digest = hashlib.sha256((made.workspace.releases / MODEL / "endless" / MANIFEST).read_bytes()).hexdigest()
    wanted = ModelDeployment(champion=Deployed(version="endless", digest=digest))
    write_deployment(made.workspace.deployment, Deployment(models={MODEL: wanted}))


def begin_trial(made, running):
    """Promote the endless release, have it tried, and return the process that tries it."""
    before = {*running.children()}
    kept = made.workspace.deployment.read_text()
    promote_endless(made)
    admin = running.said["admin"][0]
    threading.Thread(target=refresh, args=(admin,), daemon=True).start()
    while not (tried := [*{*running.children()} - before]):
        pass
    made.workspace.deployment.write_text(kept)
    return tried[0]


def refresh(admin):
    with contextlib.suppress(httpx.TransportError):  # The scorer ends before the trial would.
        httpx.post(f"{admin}/v1/refresh", timeout=600)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scorer_told_to_stop_does_not_wait_for_a_trial(made, workers):
    with serving(made, "--workers", str(workers)) as running:
        trial = begin_trial(made, running)
        answer = httpx.post(running.url + PREDICT, json={"keys": {"customer": 3}}, timeout=30)
        running.process.send_signal(signal.SIGTERM)
        code = running.process.wait(timeout=20)
        while alive(trial):
            pass

    assert (answer.status_code, answer.json()["version"], code) == (200, "1", 0)


def test_a_trial_ends_with_the_scorer_that_was_killed(made):
    with serving(made) as running:
        trial = begin_trial(made, running)
        assert alive(trial)
        running.process.kill()
        running.process.wait()
        while alive(trial):
            pass
