"""A proposed repo: definitions copied, data linked, and only what would change built anew."""

import shutil

import pytest
import yaml

from knownat.stores.pipelines import build_features
from knownat.stores.proposal import lay_out_files
from tests.training.histories import write_history


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    repo = write_history(tmp_path_factory.mktemp("history"), seed=3).repo
    build_features(repo)
    return repo


@pytest.fixture
def live(built, tmp_path):
    return shutil.copytree(built, tmp_path / "live")


def write(repo, *names):
    for name in names:
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text("")


def state(repo):
    files = (path for path in repo.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(repo).as_posix(): path.read_bytes() for path in files}


def test_definitions_are_copied_data_is_linked_and_what_is_hidden_is_left(live, tmp_path):
    write(live, "views.py", "team/views.py", ".feastignore", ".git/config.py", "__pycache__/views.py")
    write(
        live, "data/registry.db", "data/online_rows/data.mdb", "data/added.parquet", "data/pieces/a.parquet"
    )
    root = tmp_path / "root"
    assert lay_out_files(live, root) == {}
    copied = {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_symlink()}
    assert {
        "views.py",
        "team/views.py",
        ".feastignore",
        "pipelines/honest.sql",
        "models/outcome.toml",
    } <= copied
    assert not {".git", "__pycache__", "data/registry.db", "data/online_rows"} & copied
    linked = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink()}
    assert {"data/added.parquet", "data/pieces", "data/honest.parquet", "visits.csv"} <= linked
    assert not {"data/events", "data/online_rows", "data/registry.db"} & linked
    assert (root / "visits.csv").resolve() == live / "visits.csv"


def test_the_proposal_has_a_registry_and_an_online_store_of_its_own(live, tmp_path):
    settings = live / "feature_store.yaml"
    settings.write_text(
        settings.read_text().replace("sqlite:///data/registry.db", "postgresql://host/registry")
    )
    lay_out_files(live, tmp_path / "root")
    found = yaml.safe_load((tmp_path / "root" / "feature_store.yaml").read_text())
    assert found["registry"] == {"registry_type": "sql", "path": "sqlite:///data/registry.db"}
    assert found["online_store"]["path"] == "data/online_rows"
    assert found["offline_store"] == {"type": "knownat.stores.offline.AsOfOfflineStore"}


def test_a_pipeline_that_changed_is_built_apart_and_named(live, tmp_path):
    sql = live / "pipelines" / "honest.sql"
    sql.write_text(sql.read_text() + "\n-- a remark\n")
    assert lay_out_files(live, tmp_path / "remark") == {}
    sql.write_text(f"SELECT * REPLACE (risk_last + 1 AS risk_last) FROM ({sql.read_text()}) AS t")
    before = state(live)
    found = lay_out_files(live, tmp_path / "root")
    assert list(found) == ["honest"]
    was, now = found["honest"]
    assert (len(was), len(now), was != now) == (12, 12, True)
    assert not (tmp_path / "root" / "data" / "honest.parquet").is_symlink()
    assert (tmp_path / "root" / "data" / "backfilled.parquet").is_symlink()
    # Looking changes nothing, and builds nothing that did not change.
    assert state(live) == before


def test_a_repo_without_pipelines_has_no_tables_to_make(live, tmp_path):
    shutil.rmtree(live / "pipelines")
    assert lay_out_files(live, tmp_path / "root") == {}
    assert (tmp_path / "root" / "data" / "honest.parquet").is_symlink()
    shutil.rmtree(live / "data")
    assert lay_out_files(live, tmp_path / "bare") == {}
