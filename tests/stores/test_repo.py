"""Opening and applying a repo, where Feast would go on in silence."""

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from knownat.errors import ConfigError, RepoError
from knownat.stores.registration import register, registered
from knownat.stores.repo import Applied, apply_repo, load_config, open_repo
from tests.stores import shop


def test_everything_the_files_define_is_registered(applied_shop: tuple[Path, Applied]) -> None:
    _, applied = applied_shop
    assert applied.entities == ("customer", "region")
    assert applied.feature_views == ("customer_orders", "region_sales")
    assert applied.on_demand_views == ("order_age",)
    assert applied.feature_services == ("churn", "reach")


def test_what_was_applied_is_counted_in_words() -> None:
    applied = Applied("shop", ("customer",), ("orders", "visits"), (), ("basket",), "")
    assert applied.counted == "1 entity, 2 feature views, 0 on-demand views, 1 feature service"


def test_applying_leaves_this_process_as_it_was(applied_shop: tuple[Path, Applied]) -> None:
    path, _ = applied_shop
    assert str(path) not in sys.path
    assert "views" not in sys.modules


def test_what_feast_would_drop_or_break_in_silence_is_named_all_at_once_and_nothing_changes(
    shop_copy: Path,
) -> None:
    before = registered(open_repo(shop_copy).store)
    (shop_copy / "profile.py").write_text(
        "from feast import Entity\nvisitor = Entity(name='visitor', join_keys=['visitor_id'])\n"
    )
    (shop_copy / "listed.py").write_text(
        "from datetime import timedelta\nfrom feast import FeatureView\nfrom entities import customer\n"
        "from sources import orders\n"
        "views = [FeatureView(name='listed', entities=[customer], schema=[], source=orders)]\n"
    )
    views = shop_copy / "views.py"
    views.write_text(views.read_text().replace('"is_member", dtype=Bool', '"is_member", dtype=String'))
    shutil.rmtree(shop_copy / "data" / "sales")
    with pytest.raises(ConfigError) as error:
        apply_repo(shop_copy)
    listed, profile, data, dtype = error.value.problems
    assert listed.startswith("listed.py:5: feature view 'listed' is defined but Feast does not see it")
    assert profile.startswith("profile.py:2: entity 'visitor' is defined but Feast does not see it")
    assert "give the file a name that no other Python module has" in profile
    assert data.startswith("Source 'sales' has no Parquet file at ")
    assert dtype.startswith("'customer_orders:is_member' is Bool in the registry and becomes String")
    assert registered(open_repo(shop_copy).store) == before


def test_a_definition_that_fails_says_so_with_its_reason(shop_copy: Path) -> None:
    (shop_copy / "broken.py").write_text("from feature_repo.views import customer_orders\n")
    with pytest.raises(RepoError, match=r"cannot be applied:(?s:.)*No module named 'feature_repo"):
        apply_repo(shop_copy)


@pytest.mark.parametrize("loss", ["deleted", "emptied", "cleared"])
def test_nothing_is_applied_over_a_registry_that_lost_its_content(shop_copy: Path, loss: str) -> None:
    file = shop_copy / "data" / "registry.db"
    if loss == "cleared":
        with sqlite3.connect(file) as connection:
            for table in ("feature_views", "on_demand_feature_views"):
                connection.execute(f"DELETE FROM {table}")
        connection.close()
    else:
        file.unlink()
        if loss == "emptied":
            file.touch()
    with pytest.raises(RepoError, match=r"3 (views )?were applied before\. Restore it from a backup"):
        register(shop_copy, allow_breaking=False)


def test_a_damaged_registry_is_neither_read_nor_applied_over(shop_copy: Path) -> None:
    file = shop_copy / "data" / "registry.db"
    file.write_bytes(file.read_bytes()[:100] + b"\0" * 8_000)
    with pytest.raises(RepoError, match="is damaged"):
        open_repo(shop_copy)
    with pytest.raises(RepoError, match="is damaged"):
        register(shop_copy, allow_breaking=False)


def test_opening_creates_no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shop.copy_shop(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RepoError, match=r"registry\.db is missing\. Run `knownat apply"):
        open_repo(path)
    assert not list(tmp_path.rglob("*.db"))


def test_a_registry_without_views_is_no_repo(shop_copy: Path) -> None:
    with sqlite3.connect(shop_copy / "data" / "registry.db") as connection:
        for table in ("feature_views", "on_demand_feature_views"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()
    with pytest.raises(RepoError, match=r"has no views\. Run `knownat apply"):
        open_repo(shop_copy)


def test_every_path_of_the_configuration_is_absolute(repo: object, shop_copy: Path) -> None:
    config = load_config(shop_copy)
    assert config.registry.path == f"sqlite:///{shop_copy}/data/registry.db"
    assert config.online_store.path == f"{shop_copy}/data/online_rows"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("project: [", "while parsing"),
        ("- 1", "is no mapping of settings"),
        ("project: shop\nprovider: local", "Registry is not set"),
        ("project: 7\nregistry: data/r.db", "project: Input should be a valid string"),
    ],
)
def test_a_broken_configuration_names_its_file(shop_copy: Path, text: str, problem: str) -> None:
    (shop_copy / "feature_store.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"feature_store.yaml:(?s:.)*{problem}"):
        open_repo(shop_copy)


def test_a_folder_that_is_no_repo_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(RepoError, match=r"has no feature_store\.yaml\. Name the feature repo with --repo"):
        open_repo(tmp_path)


def test_the_count_of_applied_views_stays_beside_the_registry(applied_shop: tuple[Path, Applied]) -> None:
    sidecar = applied_shop[0] / "data" / "registry.applied.json"
    assert json.loads(sidecar.read_text()) == {"project": "shop", "views": {"data/registry.db": 3}}


def test_another_registry_of_the_same_repo_starts_with_its_own_count(
    shop_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (shop_copy / "feature_store.yaml").read_text().replace("data/registry.db", "data/other.db")
    (shop_copy / "other.yaml").write_text(other)
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", "other.yaml")
    monkeypatch.chdir(shop_copy)
    apply_repo(shop_copy)
    sidecar = json.loads((shop_copy / "data" / "registry.applied.json").read_text())
    assert sidecar["views"] == {"data/registry.db": 3, "data/other.db": 3}
    (shop_copy / "data" / "other.db").unlink()
    with pytest.raises(RepoError, match=r"other\.db is missing or empty, but 3 views were applied"):
        apply_repo(shop_copy)


def test_a_variable_that_is_not_set_is_named(shop_copy: Path) -> None:
    file = shop_copy / "feature_store.yaml"
    file.write_text(file.read_text().replace("data/registry.db", "${KNOWNAT_NO_SUCH}"))
    with pytest.raises(ConfigError, match="environment variable KNOWNAT_NO_SUCH, which is not set"):
        load_config(shop_copy)
