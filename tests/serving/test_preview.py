"""The preview page's parts: a page that holds nothing, and a form behind a key."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.clock import FileClock
from knownat.contract.log_reader import read_predictions
from knownat.contract.release import HOLDOUT, publish_release, stage_release
from serving.candidates import CandidateModels
from serving.features import open_feature_store
from serving.forms import make_form
from serving.keys import Scope, add_key
from serving.loading import ReleaseLoader
from serving.openapi import FormAnswer
from serving.prediction_log import LogBook
from serving.preview_page import PreviewPage
from tests.scoring.small_release import (
    PLAN,
    golden_table,
    make_spec,
    manifest,
    model_text,
    publish_small,
)
from tests.serving.parcels import ALWAYS, MODEL, NOW_US, asking, make_parcels

MODEL_PATH = f"/v1/models/{MODEL}"


@pytest.fixture
def parcels(tmp_path):
    return make_parcels(tmp_path)


def form(asked, path=MODEL_PATH):
    answer = asked.get(f"{path}/form")
    assert answer.status_code == 200, answer.text
    FormAnswer.model_validate(answer.json())
    return answer.json()


def test_a_form_says_what_is_asked_and_who_keeps_the_model(parcels):
    parcels.publish("2", gates=({"gate": "auc", "value": 0.5, "bound": 0.7, "passed": False},))
    parcels.deploy("1", pinned=(parcels.deployed("2"),))

    with asking(parcels) as asked:
        told, pinned = form(asked), form(asked, f"{MODEL_PATH}/versions/2")

    assert (told["model"], told["version"], told["role"], told["production"]) == (
        MODEL,
        "1",
        "champion",
        True,
    )
    assert (told["owner"], told["runbook"]) == ("parcels@example.org", "docs/late_parcel.md")
    assert told["keys"] == [{"name": "depot_id", "dtype": "int64", "nullable": True}]
    assert told["inputs"] == [{"name": "weight_kg", "dtype": "float64", "nullable": False}]
    assert told["examples"][1] == {"keys": {"depot_id": None}, "inputs": {"weight_kg": "7.0"}}
    assert (pinned["role"], pinned["production"], pinned["passed"], told["passed"]) == (
        "pinned",
        False,
        False,
        True,
    )


def test_every_version_but_the_champion_is_a_candidate(parcels):
    for version in "234":
        parcels.publish(version)
    parcels.deploy("1", challenger=parcels.deployed("2"), shadow=(parcels.deployed("3"),),
                   pinned=(parcels.deployed("4"),))  # fmt: skip

    with asking(parcels) as asked:
        told = [form(asked, f"{MODEL_PATH}/versions/{version}") for version in "1234"]

    assert [one["role"] for one in told] == ["champion", "challenger", "shadow", "pinned"]
    assert [one["production"] for one in told] == [True, False, False, False]


def examples_of(folder, asked, **serving):
    """The examples of a release whose hold-out asked so."""
    with stage_release(folder / MODEL / "1") as staged:
        (staged / "model.txt").write_bytes(model_text())
        (staged / "read_plan.json").write_text(PLAN.model_dump_json())
        pq.write_table(golden_table(), staged / "golden.parquet")
        pq.write_table(pa.table(asked), staged / HOLDOUT)
        described = manifest(spec=make_spec(serving=serving))
        return make_form(publish_release(staged, folder / MODEL / "1", described)).examples


def test_where_the_hold_out_has_other_columns_examples_are_golden_rows_without_entities(tmp_path):
    examples = examples_of(tmp_path, {"weight_kg": [90.0] * 20})

    assert [one.keys for one in examples] == [{"depot_id": None}] * 8
    assert examples[1].inputs == {"weight_kg": "7.0"}


def test_another_release_in_the_place_of_the_one_that_serves_has_no_form(parcels, tmp_path):
    other = publish_small(tmp_path / "other", "1", opposite=True)
    with asking(parcels) as asked:
        parcels.releases["1"].path.rename(tmp_path / "away")
        other.path.rename(parcels.releases["1"].path)

        told = asked.get(f"{MODEL_PATH}/form")

    assert (told.status_code, told.json()["error"]["code"]) == (500, "scoring_failed")
    assert told.json()["error"]["message"] == f"The release of '{MODEL}' 1 cannot be read."


@pytest.mark.parametrize("hidden", [(), ("depot_id",)], ids=["shown", "pseudonymous"])
def test_examples_are_questions_of_the_hold_out_with_their_entities(tmp_path, hidden):
    asked = {"depot_id": [2**62 + n for n in range(20)], "weight_kg": [0.1 * n for n in range(20)]}

    examples = examples_of(tmp_path, asked, pseudonymous_keys=hidden)

    depots = [str(2**62 + n) for n in range(0, 16, 2)]
    assert [one.keys.get("depot_id") for one in examples] == ([None] * 8 if hidden else depots)
    assert examples[1].inputs == {"weight_kg": "0.2"}


def test_a_form_is_for_keys_that_may_explain_and_the_page_for_anyone(parcels, tmp_path):
    keys = tmp_path / "keys.json"
    _, predicts = add_key(keys, "shop", frozenset({Scope.PREDICT}), now_us=NOW_US, days=None)
    _, explains = add_key(keys, "desk", frozenset({Scope.EXPLAIN}), now_us=NOW_US, days=None)

    with asking(parcels, keys=keys) as asked:
        told = [
            asked.get(f"{MODEL_PATH}/form", headers={"x-api-key": key}).status_code
            for key in (predicts, explains, "")
        ]
        page = asked.get(f"{MODEL_PATH}/preview")

    assert told == [403, 200, 401]
    assert page.status_code == 200
    assert MODEL not in page.text


def test_an_unknown_model_or_version_has_no_form(parcels):
    with asking(parcels) as asked:
        unknown = asked.get("/v1/models/other/form"), asked.get(f"{MODEL_PATH}/versions/9/form")

    assert [answer.status_code for answer in unknown] == [404, 404]
    assert unknown[1].json()["error"]["message"].endswith("there are ['1'].")


def test_the_page_may_run_its_own_script_and_load_nothing(parcels):
    with asking(parcels) as asked:
        page = asked.get(f"{MODEL_PATH}/versions/1/preview")

    policy = page.headers["content-security-policy"]
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"""(src|href)=["'](?!data:)|https?://(?!www\.w3\.org/2000/svg)""", page.text)
    assert page.content == PreviewPage.build().content


@contextmanager
def previewing(parcels, version, *options):
    """``knownat preview`` as a process; gives what it said."""
    path = parcels.workspace.home / "clock"
    FileClock(path).move_to(NOW_US)
    command = [str(Path(sys.executable).with_name("knownat")), "preview", MODEL, version, "--json"]
    command += ["--repo", str(parcels.workspace.repo), "--port", "0", "--clock", f"file:{path}", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stdout.close()


def test_a_release_that_nobody_promoted_is_shown_as_a_candidate(parcels):
    parcels.publish("2", opposite=True)

    with previewing(parcels, "2") as said:
        base = said["page"].removesuffix("/preview")
        told = httpx.get(f"{base}/form").json()
        body = {"keys": {"depot_id": 1}, "inputs": {"weight_kg": 7.0}}
        for path in (base, said["url"] + MODEL_PATH):
            assert httpx.post(f"{path}/predict", json=body).json()["version"] == "2"

    assert said["url"].startswith("http://127.0.0.1:")
    assert (told["version"], told["role"], told["production"]) == ("2", "candidate", False)
    log = read_predictions(parcels.workspace.predictions, MODEL, **ALWAYS)
    assert log.select(["version", "role"]).to_pylist() == [{"version": "2", "role": "pinned"}] * 2


def test_a_candidate_stays_whatever_is_deployed_meanwhile(parcels, tmp_path):
    book = LogBook(tmp_path)
    opened = open_feature_store(parcels.workspace.repo)
    loader = ReleaseLoader(parcels.workspace.releases, opened, book, trial=lambda path, digest: None)
    models = CandidateModels(parcels.workspace.releases, loader, MODEL, "1")
    before = models.current

    assert models.refresh() is False
    book.close()
    assert (models.current, models.problems, models.missing) == (before, {}, frozenset())


def test_a_preview_of_nothing_says_what_is_wrong(parcels, run_knownat):
    repo = str(parcels.workspace.repo)

    told = run_knownat("preview", MODEL, "9", "--repo", repo, "--port", "0")

    assert told.returncode == 2
    assert "manifest.json cannot be read" in told.stderr
