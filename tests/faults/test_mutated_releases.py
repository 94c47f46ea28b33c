"""Changed model files and manifests: the same process serves on, and each is refused by its name."""

import random
import shutil
import sys
from collections import Counter

import httpx
import pytest

from knownat.contract.release import Deployment, ModelDeployment, read_release, write_deployment
from tests.faults.mutations import mutate
from tests.faults.processes import alive
from tests.serving.made_workspace import MODEL, deployed, make_workspace
from tests.serving.running import fill_lmdb, serving
from tests.soak import SOAKING, scale

CUSTOMERS = [*range(0, 1_000, 5)]
GOLDEN = 10  # The first of them are among the release's golden rows.
PREDICT = f"/v1/models/{MODEL}/predict"
# On a busy machine a request is not to fail for being late: that is not what is asked here.
PATIENT = {"deadline_ms": 60_000}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"), serving=PATIENT)
    fill_lmdb(made)
    return made


def promote(made, wanted):
    serving_now = ModelDeployment(champion=wanted)
    write_deployment(made.workspace.deployment, Deployment(models={MODEL: serving_now}))


def asked(client):
    rows = {"rows": [{"keys": {"customer": c}} for c in CUSTOMERS]}
    answer = client.post(PREDICT, json=rows).json()
    return answer["version"], [p["score"] for p in answer["predictions"]]


@pytest.mark.parametrize(("resealed", "count"), [(False, scale(40, 1_000)), (True, scale(25, 200))])
def test_a_changed_release_is_refused_by_name_and_the_old_one_serves_on(made, resealed, count):
    dice = random.Random(19)
    good = made.workspace.releases / MODEL / "1"
    fine = deployed(read_release(good))
    promote(made, fine)
    refused: Counter[str] = Counter()
    harmless: Counter[str] = Counter()
    with serving(made) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        admin = running.said["admin"][0]
        version, scores = asked(client)
        for number in range(count):
            mutant = mutate(good, f"m{number}", dice, resealed=resealed)
            promote(made, mutant.deployed)
            # Some changed trees lead back to themselves; their trial takes all the processor time it may.
            told = httpx.post(f"{admin}/v1/refresh", timeout=900).json()
            served, found = asked(client)

            assert alive(running.process.pid)
            if told["refused"]:
                assert found == scores, mutant
                assert f"version m{number} is refused" in told["refused"][MODEL], mutant
                assert told["models"] == {MODEL: version}
                assert served == version
                refused[mutant.how] += 1
            else:
                # A sealed release is what it says it is, and passes if its golden scores hold.
                assert resealed, mutant
                assert found[:GOLDEN] == pytest.approx(scores[:GOLDEN], abs=1e-12), mutant
                assert served == f"m{number}"
                harmless[mutant.how] += 1
                promote(made, fine)
                httpx.post(f"{admin}/v1/refresh", timeout=60)
            shutil.rmtree(good.with_name(f"m{number}"))

    assert sum(refused.values()) + sum(harmless.values()) == count
    assert sum(refused.values()) > count / 2
    if SOAKING:
        sys.stderr.write(f"\nresealed={resealed} refused={dict(refused)} harmless={dict(harmless)}\n")
