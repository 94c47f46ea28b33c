"""The future test, the certificate and the price, on a shop joined through Feast."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from knownat.clock import FixedClock, to_us
from knownat.contract.model_spec import read_spec
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.stores.pipelines import build_features
from knownat.stores.repo import apply_repo
from tests.training import shop
from training.leaks import find_leaks, price_leaks
from training.pipeline import say_nothing, train
from training.promotion import promote
from training.variant import read_variant

pytestmark = pytest.mark.xdist_group("feast-training")
NOW = FixedClock(to_us(datetime(2024, 5, 1, tzinfo=UTC)))
MODEL = "return_soon"
LEAKY = """
name = "leaky"
description = "Counts the orders that come before the question's next one."

[[change]]
files = "pipelines/customer_orders.sql"
find = "count(*) OVER so_far AS order_count_total"
replace = "count(*) OVER (PARTITION BY customer_id) AS order_count_total"
why = "All orders of a customer are counted, those of the future too."
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    repo = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    build_features(repo)
    apply_repo(repo)
    return Workspace.at(repo)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaky")
    (folder / "variant.toml").write_text(LEAKY)
    return folder


@pytest.fixture(scope="module")
def priced(workspace, leaky, tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return price_leaks(workspace, read_variant(leaky), MODEL, work=work, progress=say_nothing), work


def test_an_honest_repo_is_certified_with_the_planted_leaks_caught(workspace):
    certificate = find_leaks(workspace, MODEL, progress=say_nothing)
    assert certificate.problems() == certificate.open_suspicions() == []
    assert certificate.future[0].instant == shop.CUTOFF.isoformat()
    for evidence in certificate.future:
        assert evidence.questions > 100
        assert evidence.columns == 5  # four features and the time of the question
        assert evidence.rows_visible > 100
        assert evidence.questions_changed == evidence.labels_changed == 0
        assert sum(event.unknown for event in evidence.events) > 300
        assert min(evidence.canaries.values()) > 0


def test_a_leaking_repo_is_told_by_table_column_and_question(priced):
    (certificate, _), _ = priced
    moved = {each.where for evidence in certificate.future for each in evidence.moved}
    assert {"table 'customer_orders'", "customer_orders__order_count_total"} <= moved
    assert "customer_orders__order_channel_last" not in moved
    told = "\n".join(certificate.problems())
    assert "'customer_orders' knew the future" in told
    assert "of the question customer_id=" in told


def test_a_leak_promises_more_than_it_gets_and_gets_less_than_honesty(priced):
    (_, price), _ = priced
    promised, served, honest = (m["auc"].value for m in (price.promised, price.served, price.honest))
    assert promised > honest > served
    assert price.as_json()["served"]["auc"]["value"] == served


def test_a_model_that_leaks_is_released_to_be_looked_at_and_never_serves(priced):
    _, work = priced
    leaking = Workspace.at(work / "leaky" / "feature_repo")
    release = train(leaking, MODEL, clock=NOW)
    assert [gate.gate for gate in release.manifest.gates if not gate.passed] == ["signs of a leak"]
    for reason in (None, "we need it today"):
        with pytest.raises(ReleaseError, match="'customer_orders' knew the future"):
            promote(leaking, MODEL, "1", reason=reason, clock=NOW)
    assert "knew the future" in (release.path / "card.html").read_text()


def test_answers_that_claim_to_be_known_earlier_than_they_are_are_told(workspace, tmp_path):
    copy = Workspace.at(shutil.copytree(workspace.repo, tmp_path / "feature_repo"))
    sql = copy.models / f"{MODEL}.sql"
    sql.write_text(
        sql.read_text().replace("    ) AS label_timestamp", "    ) - INTERVAL 20 DAYS AS label_timestamp")
    )
    sql.write_text(
        sql.read_text().replace(
            "    greatest(\n        event_timestamp,",
            "    greatest(\n        event_timestamp + INTERVAL 20 DAYS,",
        )
    )
    certificate = find_leaks(copy, MODEL, progress=say_nothing)
    assert any("answers said to be known by" in problem for problem in certificate.problems())


def test_the_command_tells_a_leak_by_its_exit_code(workspace, leaky, tmp_path, run_knownat):
    repo = ["--repo", str(workspace.repo)]
    clean = run_knownat("leaks", MODEL, *repo, "--json")
    assert clean.returncode == 0, clean.stderr
    assert json.loads(clean.stdout)["certificate"]["problems"] == []
    found = run_knownat("leaks", MODEL, *repo, "--variant", str(leaky), "--work", str(tmp_path))
    assert found.returncode == 1, found.stderr
    for told in ("knew the future", "4 caught", "promised", "served", "honest"):
        assert told in found.stdout
    wrong = run_knownat("leaks", "nobody", *repo)
    assert wrong.returncode == 2
    assert "no such model" in wrong.stderr


def test_a_model_reads_how_it_is_searched_from_its_declaration(workspace, tmp_path):
    copy = Workspace.at(shutil.copytree(workspace.repo, tmp_path / "feature_repo"))
    file = copy.model_file(MODEL)
    file.write_text(file.read_text() + "\n[leaks]\ninstants = 4\n")
    assert read_spec(file).leaks.instants == 4
    certificate = find_leaks(copy, MODEL, progress=say_nothing)
    assert len({evidence.instant for evidence in certificate.future}) == 4
