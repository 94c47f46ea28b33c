"""The scorer over a real Feast repo: what is served is what was known, and what was trained on."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.clock import FileClock, to_us
from knownat.contract.log_reader import read_predictions
from knownat.contract.release import read_deployment, read_release, write_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from knownat.scoring.scorer import Scorer
from knownat.stores.materialization import materialize
from knownat.stores.repo import apply_repo, open_repo
from serving.batch import score_file
from serving.features import open_history
from serving.loading import ReleaseLoader
from serving.models import ServedModels
from serving.prediction_log import LogBook
from serving.question_files import find_questions
from tests.serving.fakes import InMemoryFeatures
from tests.serving.shop_release import release_shop
from tests.stores import shop

pytestmark = pytest.mark.xdist_group("feast-serving")
ASKED = shop.at(100)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """The shop, applied, materialized until the question's time, with one release deployed."""
    repo = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    apply_repo(repo)
    materialize(open_repo(repo), until=ASKED)
    release_shop(repo, "1")
    return Workspace.at(repo)


@contextmanager
def serving(workspace, *options):
    clock = workspace.home / "clock"
    FileClock(clock).move_to(to_us(ASKED))
    command = [str(Path(sys.executable).with_name("knownat")), "serve", "--repo", str(workspace.repo)]
    command += ["--port", "0", "--clock", f"file:{clock}", "--drain-seconds", "0", *options]
    counts = workspace.home / "counts"
    counts.mkdir(exist_ok=True)
    environment = {**os.environ, "TZ": "UTC", "PROMETHEUS_MULTIPROC_DIR": str(counts)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/", env=environment)
    try:
        line = process.stdout.readline()
        url, metrics = re.findall(r"http://[^ )]+", line)
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client, FileClock(clock), line, metrics
        assert list(counts.iterdir()) == []  # its numbers are in memory, whoever started it
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(client, examples):
    rows = [
        {"keys": {"customer_id": row["customer_id"], "home_region": row["home_region"]}, "inputs": {}}
        for row in examples.to_pylist()
    ]
    answer = client.post("/v1/models/churn/predict", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def questions():
    """Every customer in every region, unknown ones and null keys among them, asked at one time."""
    asked = [(c, r) for c in (*shop.CUSTOMERS, 999, None) for r in (*shop.REGIONS, "nowhere", None)]
    return pa.table(
        {
            "customer_id": pa.array([c for c, _ in asked], pa.int64()),
            "home_region": pa.array([r for _, r in asked], pa.string()),
            "event_timestamp": pa.array([ASKED] * len(asked), shop.MOMENT),
        }
    )


def changed(name, column):
    table = questions()
    return table.set_column(table.schema.get_field_index(name), name, column)


def score(workspace, source, target, **given):
    return score_file(
        workspace, "churn", source, target, version=None, history=open_history(workspace.repo), **given
    )


def test_online_offline_and_the_log_agree(workspace, tmp_path):
    pq.write_table(questions(), tmp_path / "in.parquet")
    with serving(workspace) as (client, clock, line, exposition):
        online = ask(client, questions())
        clock.move_to(to_us(ASKED) + 49 * 3_600_000_000)
        later = ask(client, questions())
        refused = client.post(
            "/v1/models/churn/predict", json={"keys": {"customer_id": "1_0", "home_region": "n"}}
        )
        health = client.get("/health/ready").json()
        metrics = httpx.get(exposition).text
    done = score(workspace, tmp_path / "in.parquet", tmp_path / "out.parquet", batch_rows=17)
    offline = pq.read_table(tmp_path / "out.parquet")
    log = read_predictions(workspace.predictions, "churn", start=ASKED, end=datetime(2030, 1, 1, tzinfo=UTC))
    first = log.filter(pa.compute.equal(log["event_timestamp"], ASKED))
    by_id = {row["prediction_id"]: row for row in first.to_pylist()}
    logged = [by_id[p["prediction_id"]] for p in online]

    assert line.startswith("Serving churn 1 at http://127.0.0.1:")
    assert (done.version, done.rows) == ("1", len(online))
    assert [p["score"] for p in online] == offline["score"].to_pylist()
    assert [p["degraded"] for p in online] == offline["degraded"].to_pylist()
    assert len({p["score"] for p in online}) > 10
    assert [row["score"] for row in logged] == [p["score"] for p in online]
    assert len(log) == len(online) + len(later)
    rescored = Scorer.load(read_release(workspace.releases / "churn" / "1")).score(
        pa.Table.from_pylist(logged, schema=log.schema)
    )
    assert rescored.tolist() == [p["score"] for p in online]

    # Two days on, nothing was written: Feast would still serve these rows, their ttl is over.
    assert {p["views"]["customer_orders"]["status"] for p in later} == {"expired", "not_found"}
    assert {p["views"]["region_sales"]["status"] for p in later} == {"present", "not_found"}
    assert refused.status_code == 422
    assert health["ready"] is True
    assert 'knownat_log_written_total{log="churn/1"} 140.0' in metrics


def test_a_release_that_was_changed_is_refused_by_name_and_the_old_one_serves(workspace, tmp_path):
    good = read_deployment(workspace.deployment)
    book = LogBook(tmp_path)
    loader = ReleaseLoader(workspace.releases, lambda plan: InMemoryFeatures(plan, {}), book)
    models = ServedModels(workspace.deployment, loader)
    models.refresh()
    release_shop(workspace.repo, "2")
    model_text = workspace.releases / "churn" / "2" / "model.txt"
    model_text.write_text(model_text.read_text()[:-500])
    models.refresh()
    book.close()
    write_deployment(workspace.deployment, good)

    assert models.current["churn"].champion.version == good.models["churn"].champion.version
    assert "version 2 is refused" in models.problems["churn"]
    assert "model.txt was changed" in models.problems["churn"]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (questions().drop(["home_region"]), r"lacks the columns \['home_region'\]"),
        (questions().slice(0, 0), "no rows"),
        (questions().append_column("score", pa.nulls(70)), r"already has the columns \['score'\]"),
        (changed("event_timestamp", pa.array([1] * 70)), "must be a timestamp with a time zone"),
        (changed("event_timestamp", pa.nulls(70, shop.MOMENT)), "'event_timestamp' holds nulls"),
        (changed("customer_id", pa.array([1.5] * 70)), "'customer_id' is double; it must be int64"),
        (changed("customer_id", pa.array([True] * 70)), "'customer_id' is bool; it must be int64"),
        (changed("customer_id", pa.array(["1_0"] * 70)), "'customer_id' is string; it must be int64"),
        (changed("customer_id", pa.array([2**63] * 70, pa.uint64())), "beyond int64"),
        (changed("home_region", pa.array([1] * 70)), "'home_region' is int64; it must be string"),
        (
            questions().append_column("question_us", pa.array([1] * 70)),
            "'question_us' is not event_timestamp",
        ),
    ],
    ids=[
        "a column short",
        "empty",
        "scored before",
        "no times",
        "null times",
        "fractions",
        "truths",
        "text",
        "beyond 64 bits",
        "numbers",
        "another time",
    ],
)
def test_a_file_that_cannot_be_scored_is_named(workspace, tmp_path, table, says):
    pq.write_table(table, tmp_path / "in.parquet")
    plan = read_release(workspace.releases / "churn" / "1").plan

    with pytest.raises(ConfigError, match=says):
        list(find_questions(tmp_path / "in.parquet", plan).tables(50))


def test_a_file_that_fails_midway_leaves_nothing(workspace, tmp_path):
    late = pa.concat_tables([questions(), changed("event_timestamp", pa.nulls(70, shop.MOMENT))])
    pq.write_table(late, tmp_path / "in.parquet")

    with pytest.raises(ConfigError, match="holds nulls"):
        score(workspace, tmp_path / "in.parquet", tmp_path / "out.parquet", batch_rows=70)
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]
