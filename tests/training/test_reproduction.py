import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from knownat.clock import FixedClock, to_us
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.stores.pipelines import build_features
from knownat.stores.repo import apply_repo
from tests.scoring.small_release import publish_small
from tests.training import shop
from training.pipeline import say_nothing, train
from training.reproduction import find_release, reproduce

pytestmark = pytest.mark.xdist_group("feast-training")
NOW = FixedClock(to_us(datetime(2024, 5, 1, tzinfo=UTC)))
MODEL = "return_soon"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A shop that knows when each order was reported, and a release of its model."""
    repo = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    shop.report_orders(repo)
    build_features(repo)
    apply_repo(repo)
    workspace = Workspace.at(repo)
    return workspace, train(workspace, MODEL, clock=NOW)


@pytest.fixture
def copy(made, tmp_path) -> Workspace:
    """A copy of the shop to change; the release stays where it was made."""
    return Workspace.at(shutil.copytree(made[0].repo, tmp_path / "feature_repo"))


def again(workspace, release, **options):
    return reproduce(workspace, release, progress=say_nothing, **options)


def test_a_release_made_again_has_the_same_bytes(made):
    found = again(*made)
    assert found.same
    assert set(found.files.values()) == {True}
    assert {"model.txt", "read_plan.json", "golden.parquet", "baseline.parquet", "holdout.parquet"} <= set(
        found.files
    )
    assert (found.environment, found.changed, found.later) == ((), (), ())


def test_one_corrupted_row_of_the_sources_is_named(made, copy):
    lines = (copy.repo / "orders.csv").read_text().splitlines()
    customer, paid, cents, channel, reported = lines[50].split(",")
    lines[50] = ",".join([customer, paid, str(int(cents) + 1), channel, reported])
    (copy.repo / "orders.csv").write_text("\n".join(lines) + "\n")
    found = again(copy, made[1])
    assert not found.same
    assert not found.files["baseline.parquet"]
    counted, named = found.changed
    assert counted == (
        "event 'orders': of the rows known by the cutoff, 1 are gone or changed and 1 are others"
    )
    assert f"customer_id={customer}, " in named
    assert f"cents={int(cents) + 1}, " in named


def test_a_late_correction_changes_later_training_sets_and_not_this_one(made, copy):
    late = [(customer, shop.CUTOFF - timedelta(days=9, minutes=customer)) for customer in range(2, 60, 2)]
    shop.report_orders(copy.repo, late={each: shop.CUTOFF + timedelta(days=2) for each in late})
    found = again(copy, made[1])
    assert found.same
    assert found.files["baseline.parquet"]
    assert found.changed == ()
    assert found.later == (
        "event 'orders': 29 rows that became known after the cutoff are new; training does not see them",
    )
    # Once the cutoff is after the correction, the same questions have other answers.
    file = copy.model_file(MODEL)
    file.write_text(file.read_text().replace("cutoff = 2024-03-20", "cutoff = 2024-03-28"))
    corrected = train(copy, MODEL, clock=NOW)
    shop.report_orders(copy.repo)
    build_features(copy.repo)
    uncorrected = train(copy, MODEL, clock=NOW)
    assert corrected.manifest.files["model.txt"] != uncorrected.manifest.files["model.txt"]


def test_an_edited_definition_is_named(made, copy):
    sql = copy.repo / "pipelines" / "customer_orders.sql"
    sql.write_text(sql.read_text().replace("count(*) OVER", "1 + count(*) OVER"))
    found = again(copy, made[1])
    assert not found.same
    assert found.changed == ("definition 'pipelines/customer_orders.sql' was edited",)


def test_other_packages_are_refused_by_name_unless_told_to_try(made):
    workspace, release = made
    other = release.manifest.model_copy(update={"lightgbm_version": "4.0.0", "threads": 8})
    old = replace(release, manifest=other)
    with pytest.raises(ReleaseError, match=r"LightGBM is 4\.7\.0, it was 4\.0\.0\n.*threads is 1, it was 8"):
        again(workspace, old)
    found = again(workspace, old, anyway=True)
    assert found.same
    assert len(found.environment) == 2


def test_a_release_that_does_not_say_what_it_was_made_from_is_refused(made, tmp_path):
    with pytest.raises(ReleaseError, match="does not say what it was made from"):
        again(made[0], publish_small(tmp_path))


def test_the_command_finds_a_copied_release_and_tells_by_its_exit_code(made, copy, tmp_path, run_knownat):
    moved = shutil.copytree(made[1].path, tmp_path / "elsewhere")
    repo = ["--repo", str(copy.repo), "--release", str(moved)]
    done = run_knownat("reproduce", MODEL, "1", *repo, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["same"] is True
    sql = copy.models / "return_soon.sql"
    sql.write_text(sql.read_text().replace("INTERVAL 7 DAYS", "INTERVAL 6 DAYS"))
    done = run_knownat("reproduce", MODEL, "1", *repo)
    assert done.returncode == 1, done.stderr
    assert "definition 'models/return_soon.sql' was edited" in done.stdout
    assert run_knownat("reproduce", MODEL, "2", *repo).returncode == 2


def test_a_release_of_another_name_is_not_taken_for_it(made):
    workspace, release = made
    with pytest.raises(ReleaseError, match="is 'return_soon' 1, not 'return_soon' 2"):
        find_release(workspace, MODEL, "2", folder=release.path)
