"""The whole way on a small shop, through Feast: raw orders in, a release out."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from knownat.clock import FixedClock, to_us
from knownat.contract.release import read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, ReleaseError
from knownat.scoring.scorer import Scorer
from knownat.scoring.trial import trial_load
from knownat.stores.pipelines import build_features
from knownat.stores.repo import apply_repo
from tests.training import shop
from training.pipeline import train
from training.promotion import promote

pytestmark = pytest.mark.xdist_group("feast-training")
NOW = FixedClock(to_us(datetime(2024, 5, 1, tzinfo=UTC)))
MODEL = "return_soon"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    """A shop with its features built and applied."""
    repo = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    build_features(repo)
    apply_repo(repo)
    return Workspace.at(repo)


@pytest.fixture(scope="module")
def release(workspace):
    return train(workspace, MODEL, clock=NOW, version="first")


@pytest.fixture
def shop_copy(workspace, tmp_path) -> Workspace:
    """A shop of its own for a test that changes it."""
    return Workspace.at(shutil.copytree(workspace.repo, tmp_path / "feature_repo"))


def test_a_release_says_what_it_was_made_of(release):
    manifest = release.manifest
    assert manifest.feature_schema.names == (
        "customer_orders__order_count_total",
        "customer_orders__order_channel_last",
        "order_pace__order_last_age_h",
        "order_pace__order_value_mean_cents",
    )
    assert manifest.training_end <= shop.CUTOFF - timedelta(hours=168)
    assert manifest.created_at == datetime(2024, 5, 1, tzinfo=UTC)
    assert set(manifest.baselines) == {"prior", "static", "logistic"}
    assert manifest.baselines["prior"]["auc"] == 0.5
    assert 0.6 < manifest.metrics["auc"].value < 0.95
    assert set(manifest.slices["customer_orders__order_channel_last"]) == {"app", "web"}
    assert manifest.passed
    assert release.plan.question_time_input == "question_epoch_us"
    trial_load(release.path, release.digest)


def test_a_stored_sample_scores_as_it_did(release):
    scorer = Scorer.load(release)
    for name in ("baseline.parquet", "holdout.parquet"):
        sample = pq.read_table(release.path / name)
        assert (abs(scorer.score(sample) - sample["score"].to_numpy()) <= 1e-12).all()
    assert sample["event_timestamp"].to_pylist() == sorted(sample["event_timestamp"].to_pylist())
    assert min(sample["event_timestamp"].to_pylist()) >= shop.CUTOFF
    assert {"customer_id", "label", "label_timestamp"} <= set(sample.column_names)


def test_golden_rows_hold_what_the_online_store_keeps_and_what_feast_made_of_it(release):
    golden = pq.read_table(release.path / "golden.parquet").to_pylist()
    for row in golden:
        age = (row["question_epoch_us"] - row["customer_orders__order_last_epoch_us"]) / 3_600_000_000
        assert row["order_pace__order_last_age_h"] == age
        total, count = (
            row["customer_orders__order_value_sum_cents_total"],
            row["customer_orders__order_count_total"],
        )
        assert row["order_pace__order_value_mean_cents"] == total / count
    assert len(golden) == 200


def test_the_certificate_counts_every_row(release):
    certificate = json.loads((release.path / "certificate.json").read_text())
    (view,) = certificate["views"]
    assert view["present"] == view["rows"] == certificate["examples_joined"] > 1_000
    assert view["event_after_question"] == view["created_after_question"] == 0
    assert certificate["problems"] == []


def test_the_card_opens_without_a_network_and_escapes_what_people_wrote(release):
    card = (release.path / "card.html").read_text()
    assert "<svg" in card
    assert "Customers who &lt;never&gt; return" in card
    assert "http" not in card
    assert "<script" not in card


def test_training_again_gives_the_same_bytes_under_the_next_number(workspace, release):
    again = [train(workspace, MODEL, clock=NOW) for _ in range(2)]
    assert [r.manifest.version for r in again] == ["1", "2"]
    assert [r.manifest.metrics for r in again] == [release.manifest.metrics] * 2
    for name in set(release.manifest.files) - {"card.html"}:
        assert {r.manifest.files[name] for r in again} == {release.manifest.files[name]}, name


def test_a_version_is_never_written_twice(workspace, release):
    with pytest.raises(ReleaseError, match="a release never changes"):
        train(workspace, MODEL, clock=NOW, version="first")
    assert read_release(release.path).digest == release.digest


def test_what_happens_after_the_cutoff_changes_nothing_in_the_model(shop_copy, release):
    def differently(order):
        customer, when, cents, _ = order
        return (customer, when, cents * 7, "kiosk") if when > shop.CUTOFF else order

    shop.write_orders(shop_copy.repo, differently)
    build_features(shop_copy.repo)
    other = train(shop_copy, MODEL, clock=NOW)
    assert other.manifest.files["model.txt"] == release.manifest.files["model.txt"]
    assert other.manifest.files["baseline.parquet"] == release.manifest.files["baseline.parquet"]
    assert other.manifest.metrics != release.manifest.metrics


def test_a_declaration_that_disagrees_with_its_service_is_told_both_sides(shop_copy):
    file, sql = shop_copy.model_file(MODEL), shop_copy.models / "return_soon.sql"
    file.write_text(file.read_text().replace('customer_id = "int64"', 'customer_id = "string"'))
    query = sql.read_text().replace(
        "    customer_id,\n    event", "    customer_id::VARCHAR AS customer_id,\n    event"
    )
    sql.write_text(query)
    with pytest.raises(ConfigError, match="names 'customer_id' as string; service 'return_soon' needs int64"):
        train(shop_copy, MODEL, clock=NOW)


def test_the_command_promotes_what_passed_and_exits_1_for_what_did_not(shop_copy, run_knownat):
    text = shop_copy.model_file(MODEL).read_text()
    strict = text.replace('name = "return_soon"', 'name = "return_strict"').replace(
        "at_least = 0.6", "at_least = 0.999"
    )
    shop_copy.model_file("return_strict").write_text(strict)
    done = run_knownat("train", MODEL, "return_strict", "--repo", str(shop_copy.repo), "--json")
    assert done.returncode == 1, done.stderr
    passed, failed = json.loads(done.stdout)
    assert (passed["model"], passed["passed"], passed["promoted"]) == (MODEL, True, True)
    assert (failed["model"], failed["passed"], failed["promoted"]) == ("return_strict", False, False)
    deployed = read_deployment(shop_copy.deployment).models
    assert list(deployed) == [MODEL]
    assert deployed[MODEL].champion.digest == passed["digest"]
    assert read_release(shop_copy.releases / "return_strict" / "1").digest == failed["digest"]


def test_the_command_names_every_mistake_before_it_trains(shop_copy, run_knownat):
    file = shop_copy.model_file(MODEL)
    file.write_text(file.read_text().replace("test_days = 20", "test_days = 0").replace("growth@", "growth "))
    done = run_knownat("train", MODEL, "nobody", "--repo", str(shop_copy.repo), "--json")
    assert done.returncode == 2
    for told in ("return_soon: owner:", "return_soon: time.test_days:", "nobody: no such model"):
        assert told in done.stderr
    assert done.stdout == ""


def test_a_second_version_is_held_against_the_champion_and_every_gate_says_its_number(shop_copy, release):
    shutil.copytree(release.path, shop_copy.releases / MODEL / "first")
    promote(shop_copy, MODEL, "first", clock=NOW)
    file = shop_copy.model_file(MODEL)
    declared = file.read_text().replace(
        '["prior", "static", "logistic"]', '["prior", "last", "static", "logistic"]'
    )
    file.write_text(declared + GATES)
    (shop_copy.models / "own.py").write_text(
        "def calls(labels, scores, weights):\n    return weights.sum() / 2\n"
    )
    second = train(shop_copy, MODEL, clock=NOW)
    told = {gate.gate: gate for gate in second.manifest.gates}
    champion = next(name for name in told if "champion first" in name)
    # The same rows make the same model, and its lead over itself is nothing.
    assert "(lead 0 .. 0)" in champion
    assert told[champion].passed
    assert any(name.startswith("auc where customer_orders__order_channel_last is ") for name in told)
    assert second.manifest.metrics["calls"].value == second.manifest.metrics["calls"].rows / 2
    assert second.manifest.baselines["last"]["auc"] > 0.5
    assert [name for name, gate in told.items() if not gate.passed] == ["size_mb at most 1e-06"]


GATES = """
[[gates]]
metric = "auc"
not_worse_than = "champion"
by = 0.001

[[gates]]
metric = "auc"
at_least = 0.4
slice = "customer_orders__order_channel_last"

[[gates]]
metric = "size_mb"
at_most = 0.000001

[[gates]]
metric = "log_loss"
better_than = "last"
surely = true

[[gates]]
metric = "calls"
at_least = 1.0

[[custom_metrics]]
name = "calls"
function = "own.py:calls"
direction = "higher"
"""
