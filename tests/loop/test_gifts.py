"""A second repo that no line of the platform knows goes the whole way: four tasks, days, two roles."""

import csv
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import typer

from knownat.clock import FileClock, FixedClock, to_us
from knownat.contract.log_reader import read_labels, read_predictions
from knownat.contract.model_spec import model_names, read_spec
from knownat.contract.prediction_log import logged_scores
from knownat.contract.release import Release
from knownat.contract.workspace import Workspace
from knownat.scoring.scorer import Scorer
from knownat.stores.history import historical_frame
from knownat.stores.materialization import materialize
from knownat.stores.pipelines import build_features
from knownat.stores.repo import apply_repo, open_repo
from monitoring.judgement import profile_window, summarize
from monitoring.skew import replay
from monitoring.source import read_evidence
from monitoring.summary import PerformanceStatus
from monitoring.windows import Window
from serving.batch import score_file
from serving.features import open_history
from tests.loop import gifts
from tests.loop.replay import Replay, Replayed, Stream
from tests.loop.scorer_process import running_scorer
from training.examples import read_examples
from training.pipeline import train
from training.plan_commands import plan
from training.promotion import promote

pytestmark = pytest.mark.xdist_group("gifts")

TASKS = {
    "delivery_days": "regression",
    "delivery_days_p90": "quantile",
    "order_outcome": "multiclass",
    "delivery_late": "binary",
}
NOW = FixedClock(to_us(datetime(2024, 6, 1, tzinfo=UTC)))
FIRST = datetime(2024, 5, 8, tzinfo=UTC)
LAST = datetime(2024, 5, 11, tzinfo=UTC)
EVERY_LABEL_KNOWN = datetime(2024, 6, 20, tzinfo=UTC)


@dataclass(frozen=True)
class Shop:
    """The repo after four served days."""

    workspace: Workspace
    releases: dict[str, Release]
    asked: dict[str, pa.Table]
    replayed: Replayed
    answers: list[dict]
    """One question of every class of outcomes, alone, and two together."""

    def logged(self, model: str) -> pa.Table:
        return read_predictions(self.workspace.predictions, model, start=FIRST, end=LAST + timedelta(days=1))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("gifts")
    repo = gifts.copy_gifts(folder)
    build_features(repo)
    apply_repo(repo)
    workspace = Workspace.at(repo)
    releases = {}
    for model in TASKS:
        releases[model] = train(workspace, model, clock=NOW)
        promote(workspace, model, "1", clock=NOW)
    streams = [_stream(workspace, model) for model in TASKS]
    clock, opened = FileClock(folder / "clock"), open_repo(repo)
    clock.move_to(to_us(FIRST))
    materialize(opened, until=FIRST - timedelta(days=1), clock=clock)

    def advance(until: datetime) -> None:
        materialize(opened, until=until, clock=clock)

    with running_scorer(repo, clock=folder / "clock", folder=folder) as client:
        replayed = Replay(streams, client=client, clock=clock, advance=advance).run(
            timedelta(days=1), lambda share: None
        )
        questions = streams[2].examples.slice(0, 2).to_pylist()
        rows = [
            {"keys": {k: q[k] for k in ("buyer_id", "recipient_id", "sku")}, "inputs": {"promised_days": 3}}
            for q in questions
        ]
        path = "/v1/models/order_outcome/predict"
        answers = [client.post(path, {"rows": asked}) for asked in (rows[:1], rows[1:], rows)]
    return Shop(workspace, releases, {s.spec.name: s.examples for s in streams}, replayed, answers)


def _stream(workspace: Workspace, model: str) -> Stream:
    spec = read_spec(workspace.model_file(model))
    examples = read_examples(workspace, spec)
    when = examples["event_timestamp"]
    first, last = (pa.scalar(moment, when.type) for moment in (FIRST, LAST))
    return Stream(spec, examples.filter(pc.and_(pc.greater_equal(when, first), pc.less_equal(when, last))))


def test_every_task_is_declared_and_its_release_passes_every_gate(shop):
    assert model_names(shop.workspace.models) == sorted(TASKS)
    for model, task in TASKS.items():
        manifest = shop.releases[model].manifest
        assert manifest.spec.task == task
        assert [gate.gate for gate in manifest.gates if not gate.passed] == []


@pytest.mark.parametrize("model", TASKS)
def test_no_served_value_and_no_score_differs_from_its_offline_recomputation(shop, model):
    logged = shop.logged(model)
    found = replay(shop.workspace, model, logged, shop.replayed.steps)
    assert found.rows == len(logged) == 4 * gifts.ORDERS_A_DAY
    assert found.values_compared == 11 * found.rows
    assert (found.mismatches, found.origin_mismatches) == (0, 0)
    assert found.max_score_difference <= 1e-12


@pytest.mark.parametrize("model", TASKS)
def test_online_offline_and_batch_give_one_score_also_for_a_level_that_training_never_saw(
    shop, model, tmp_path
):
    logged, spec = shop.logged(model), shop.releases[model].manifest.spec
    unseen = pc.sum(pc.equal(logged["buyer_orders__order_packaging_last"], "crate")).as_py()
    known = shop.releases[model].manifest.feature_schema.columns[1]
    assert (unseen > 10, known.categories) == (True, ("bag", "box", "tube"))
    names = {f"key__{key}": key for key in spec.examples.keys} | {"input__promised_days": "promised_days"}
    names["event_timestamp"] = "event_timestamp"
    questions = pa.table({new: logged[old] for old, new in names.items()})
    frame = historical_frame(open_repo(shop.workspace.repo), questions, spec.feature_service)
    offline = Scorer.load(shop.releases[model]).score(frame)
    pq.write_table(questions, tmp_path / "questions.parquet")
    score_file(
        shop.workspace,
        model,
        tmp_path / "questions.parquet",
        tmp_path / "scored.parquet",
        version=None,
        history=open_history(shop.workspace.repo),
    )
    batch = pq.read_table(tmp_path / "scored.parquet")
    assert np.abs(offline - logged_scores(logged)).max() <= 1e-12
    assert np.abs(offline - logged_scores(batch)).max() <= 1e-12
    assert batch["score"].to_pylist() == pytest.approx(logged["score"].to_pylist(), abs=1e-12)


def test_a_customer_is_read_as_buyer_and_as_recipient_by_its_own_orders(shop):
    with (shop.workspace.repo / "orders.csv").open() as file:
        orders = [(int(o["buyer_id"]), date.fromisoformat(o["ordered_on"]), o) for o in csv.DictReader(file)]
    logged = shop.logged("delivery_days").to_pylist()
    for row in logged[::7]:
        today = row["event_timestamp"].date()
        so_far = {
            who: [o for buyer, day, o in orders if buyer == row[f"key__{who}_id"] and day < today]
            for who in ("buyer", "recipient")
        }
        assert row["buyer_orders__order_count_total"] == len(so_far["buyer"])
        spent = sum(int(order["cents"]) for order in so_far["recipient"])
        assert row["recipient_orders__order_value_sum_cents_total"] == (spent or None)
    assert any(row["key__recipient_id"] is None for row in logged)


def test_an_answer_names_the_likeliest_class_alone_and_among_others(shop):
    one, other, both = (answer["predictions"] for answer in shop.answers)
    for alone, together in zip([*one, *other], both, strict=True):
        assert sum(alone["shares"]) == pytest.approx(1.0)
        assert alone["score"] == max(alone["shares"]) == alone["shares"][alone["class"]]
        assert alone["shares"] == pytest.approx(together["shares"], abs=1e-12)
        assert (alone["class"], alone["views"]) == (together["class"], together["views"])


def test_a_class_has_a_share_of_each_answer_and_the_likeliest_is_the_score(shop):
    logged = shop.logged("order_outcome")
    shares = logged_scores(logged)
    assert shares.shape == (120, 3)
    assert np.allclose(shares.sum(axis=1), 1.0)
    assert shares.max(axis=1).tolist() == logged["score"].to_pylist()
    assert logged.column_names[-3:] == ["class__0", "class__1", "class__2"]


@pytest.mark.parametrize(
    ("model", "metric"), [*zip(TASKS, ("mae", "pinball", "log_loss", "auc"), strict=True)]
)
def test_a_served_window_is_judged_by_the_labels_that_came(shop, model, metric):
    window = Window(FIRST, LAST + timedelta(days=1))
    evidence = read_evidence(shop.workspace, model, window)
    found = summarize(evidence, profile_window(evidence), window, now=EVERY_LABEL_KNOWN)
    answered = shop.asked[model]["label"].to_pylist()
    assert found.performance.status is PerformanceStatus.MEASURED
    assert found.performance.labelled == sum(label is not None for label in answered) < len(answered)
    assert found.performance.metrics[0].metric == metric
    assert np.isfinite(found.performance.metrics[0].window.value)
    assert found.score.psi is not None


def test_a_lost_order_is_asked_and_never_labelled(shop):
    asked = shop.asked["delivery_days"]
    assert shop.replayed.requests == 4 * 120
    labels = read_labels(shop.workspace.predictions, "delivery_days")
    assert 0 < asked["label"].null_count == len(asked) - len(labels)


def _plan(shop: Shop, capsys: pytest.CaptureFixture[str], **options: object) -> tuple[int, dict]:
    code = 0
    capsys.readouterr()
    try:
        plan(shop.workspace.repo, until=EVERY_LABEL_KNOWN.isoformat(), days=60, as_json=True, **options)
    except typer.Exit as ended:
        code = ended.exit_code
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def edit(shop):
    """Change words of a file of the repo for one test."""
    kept: dict[Path, str] = {}

    def change(name: str, *words: tuple[str, str]) -> None:
        file = shop.workspace.repo / name
        text = kept.setdefault(file, file.read_text())
        for old, new in words:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)

    yield change
    for file, text in kept.items():
        file.write_text(text)


def test_a_plan_names_what_changes_break_whom_to_tell_and_what_becomes_of_scores(
    shop, edit, capsys, tmp_path, monkeypatch
):
    # Where another file configures the repo, as on a cluster, its stores are not touched either.
    settings = (shop.workspace.repo / "feature_store.yaml").read_text()
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(settings.replace("data/", f"{shop.workspace.data}/"))
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(elsewhere))
    edit(
        "definitions.py",
        ("ttl=timedelta(days=30)", "ttl=timedelta(hours=12)"),
        ('order_value_sum_cents_total", dtype=Int64', 'order_value_sum_cents_total", dtype=Float64'),
    )
    edit("pipelines/customer_received.sql", ("CAST(sum(days)", "1 + CAST(sum(days)"))
    live = [shop.workspace.data / "registry.db", *shop.workspace.data.glob("*.parquet")]
    before = [file.read_bytes() for file in live]
    code, found = _plan(shop, capsys, markdown=tmp_path / "plan.md", allow=["type"])
    assert (code, found["breaks"]) == (1, True)
    changes = {(each["subject"], each["what"]): each for each in found["changes"]}
    value = ("customer_orders:order_value_sum_cents_total", "type")
    assert set(changes) == {value, ("product_deliveries", "ttl"), ("customer_received", "table")}
    ttl = changes["product_deliveries", "ttl"]
    assert (ttl["before"], ttl["after"]) == ("30 d", "12 h")
    assert ttl["releases"] == [f"{model} 1 (champion)" for model in sorted(TASKS)]
    assert (ttl["services"], ttl["models"]) == (["delivery"], sorted(TASKS))
    assert ttl["owners"] == ["parcels@example.org"]
    assert (changes[value]["breaks"], changes[value]["allowed"]) == (True, True)
    assert changes[value]["owners"] == ["parcels@example.org", "shop@example.org"]
    assert changes["customer_received", "table"]["breaks"] is False
    # Of outcomes four more were asked beside the replay.
    for model, metric, asked in (("delivery_days", "mae", 120), ("order_outcome", "log_loss", 124)):
        effect = found["releases"][f"{model} 1 (champion)"]
        labels = shop.asked[model]["label"]
        assert (effect["questions"], effect["metric"]["metric"]) == (asked, metric)
        assert effect["metric"]["labelled"] == 120 - labels.null_count
        assert effect["columns_changed"]["recipient_received__delivery_days_mean_total"] > 90
        assert effect["columns_changed"]["delivery_expectation__product_delivery_days_mean"] >= 120
        assert effect["scores_changed"] > 20
    assert found["releases"]["delivery_days 1 (champion)"]["metric"]["gain"] < 0
    page = (tmp_path / "plan.md").read_text()
    assert "| `product_deliveries` | ttl | 30 d | 12 h | **breaks** |" in page
    # Looking changes nothing.
    assert [file.read_bytes() for file in live] == before
