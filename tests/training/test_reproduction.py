import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import training.origins as origins
import training.reproduction as reproduction
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


SPEND = """
from datetime import timedelta

from definitions import customer
from feast import FeatureView, Field, FileSource
from feast.types import Int64

spend_table = FileSource(
    name="spend",
    path="data/spend.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
spend = FeatureView(
    name="spend",
    entities=[customer],
    ttl=timedelta(0),
    schema=[Field(name="eur", dtype=Int64)],
    source=spend_table,
)
"""


def write_spend(repo, *rows):
    """Write an added source's table: customer, day it happened, day it became known, value."""
    customers, happened, known, values = zip(*rows, strict=True)
    moment = pa.timestamp("us", tz="UTC")
    columns = {
        "customer_id": pa.array(customers, pa.int64()),
        "event_timestamp": pa.array([datetime(2024, 2, day, tzinfo=UTC) for day in happened], moment),
        "created_timestamp": pa.array(
            [datetime(2024, 2, 1, tzinfo=UTC) + timedelta(days=d) for d in known], moment
        ),
        "eur": pa.array(values, pa.int64()),
    }
    pq.write_table(pa.table(columns), repo / "data" / "spend.parquet")


def test_an_added_source_is_named_by_its_row_and_its_definition(made, copy):
    (copy.repo / "added").mkdir()
    (copy.repo / "added" / "spend.py").write_text(SPEND)
    file = copy.repo / "definitions.py"
    text = file.read_text()
    begin = text.index("return_soon = FeatureService(")
    (copy.repo / "services.py").write_text(
        "from added.spend import spend\nfrom definitions import customer_orders, order_pace\n"
        "from feast import FeatureService\n\n" + text[begin:].replace("order_pace]", "order_pace, spend]")
    )
    file.write_text(text[:begin])
    rows = [(1, 1, 1, 5), (2, 2, 2, 6), (1, 3, 60, 7)]
    write_spend(copy.repo, *rows)
    apply_repo(copy.repo)
    release = train(copy, MODEL, clock=NOW)
    assert again(copy, release).changed == ()

    write_spend(copy.repo, (1, 1, 1, 5), (2, 2, 2, 60), (1, 3, 60, 8))
    definition = copy.repo / "added" / "spend.py"
    definition.write_text(definition.read_text() + "# edited\n")
    found = again(copy, release)

    edited, counted, named = found.changed
    assert edited == "definition 'added/spend.py' was edited"
    assert counted.startswith("table 'spend': of the rows known by the cutoff, 1 are gone or changed and 1")
    assert named.startswith("table 'spend', a row that was not there: customer_id=2, ")
    assert "eur=60" in named
    assert found.later == (
        "table 'spend': 1 rows that became known after the cutoff are new; training does not see them",
    )


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


def test_origins_that_cannot_be_read_are_refused(made, tmp_path):
    with pytest.raises(ReleaseError, match=r"sources\.json cannot be read. Train the model again"):
        again(made[0], publish_small(tmp_path, files={"sources.json": "{}"}))


def test_other_code_of_the_platform_is_named(made, monkeypatch):
    monkeypatch.setattr(origins, "_digest_code", lambda: "0" * 64)
    with pytest.raises(ReleaseError, match="the platform's code is not that of commit"):
        again(*made)


def test_other_packages_of_the_lock_are_named(made, monkeypatch):
    monkeypatch.setattr(reproduction, "lock_digest", lambda repo: "0" * 64)
    with pytest.raises(ReleaseError, match=r"requirements\.lock is 000000000000, it was"):
        again(*made)


def test_definitions_that_came_and_went_are_named(made, monkeypatch):
    kept = reproduction.read_kept_origins(made[1])
    known = {**kept.definitions, "gone.py": "0" * 64}
    del known["models/return_soon.sql"]
    # As an older release has it, which says nothing of tables.
    was = kept.model_copy(update={"definitions": known, "tables": None})
    monkeypatch.setattr(reproduction, "read_kept_origins", lambda release: was)
    assert again(*made).changed == (
        "definition 'gone.py' is gone",
        "definition 'models/return_soon.sql' is new",
    )


def test_a_file_that_no_release_has_any_more_is_not_the_same(made):
    workspace, release = made
    files = {**release.manifest.files, "notes.txt": "0" * 64}
    old = replace(release, manifest=release.manifest.model_copy(update={"files": files}))
    found = again(workspace, old)
    assert [name for name, same in found.files.items() if not same] == ["notes.txt"]


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
