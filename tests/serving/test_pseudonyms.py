"""A log that holds no key of a person: pseudonyms there, the same answers, and a way back with the secret."""

from datetime import UTC, datetime

import httpx
import pyarrow as pa
import pytest

from knownat.contract.log_reader import read_predictions
from knownat.contract.pseudonyms import Pseudonyms
from knownat.contract.release import read_release
from serving.loading import ReleaseLoader
from serving.models import ServedModels
from serving.prediction_log import LogBook
from tests.serving.made_workspace import MODEL, expected, make_workspace, release
from tests.serving.made_workspace import deploy as deploy_release
from tests.serving.running import fill_lmdb, serving

ALWAYS = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}
SECRET = "3d8f" * 8
HIDDEN = {"pseudonymous_keys": ["customer"]}
PREDICT = f"/v1/models/{MODEL}/predict"
CUSTOMERS = [717_273, 3, 8]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"), serving=HIDDEN)
    fill_lmdb(made)
    path = made.workspace.home / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return made


def log_of(made, **given):
    return read_predictions(made.workspace.predictions, MODEL, **ALWAYS, **given)


def test_the_log_holds_pseudonyms_and_the_answers_are_the_same(made):
    secret = str(made.workspace.home / "secret")
    with (
        serving(made, "--pseudonym-key", secret) as running,
        httpx.Client(base_url=running.url, timeout=30) as client,
    ):
        alone = [client.post(PREDICT, json={"keys": {"customer": c}}).json() for c in CUSTOMERS]
        rows = {"rows": [{"keys": {"customer": c}} for c in [*CUSTOMERS, None]]}
        together = client.post(PREDICT, json=rows).json()
    made_by = Pseudonyms(SECRET.encode())
    logged = log_of(made)["key__customer"].to_pylist()

    wanted = [made_by.of("customer", c) for c in CUSTOMERS]
    assert sorted(logged, key=str) == sorted([*wanted, *wanted, None], key=str)
    scores = [answer["predictions"][0]["score"] for answer in alone]
    assert [p["score"] for p in together["predictions"]][:3] == scores
    served = read_release(made.workspace.releases / MODEL / "1")
    assert scores[1:] == pytest.approx(expected(made, served, CUSTOMERS[1:]), abs=1e-12)
    for path in made.workspace.predictions.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()
            assert (717_273).to_bytes(8, "little") not in path.read_bytes()


def test_without_the_secret_the_release_is_refused_by_name(made, tmp_path):
    book = LogBook(tmp_path)
    loader = ReleaseLoader(made.workspace.releases, lambda plan: None, book, trial=lambda path, digest: None)
    models = ServedModels(made.workspace.deployment, loader)
    models.refresh()
    book.close()

    assert models.current == {}
    assert "['customer'] as keyed hashes, and there is no secret" in models.problems[MODEL]


def test_versions_that_log_a_key_differently_are_read_together(made):
    with serving(made, "--pseudonym-key", str(made.workspace.home / "secret")) as running:
        httpx.post(running.url + PREDICT, json={"keys": {"customer": 5}}, timeout=30)
    plain = release(made, "2")
    deploy_release(made, champion=plain)
    with serving(made) as running:
        httpx.post(running.url + PREDICT, json={"keys": {"customer": 5}}, timeout=30)
    log = log_of(made)

    assert log.schema.field("key__customer").type == pa.string()
    assert "5" in log["key__customer"].to_pylist()
    assert log_of(made, version="2")["key__customer"].to_pylist() == [5]
