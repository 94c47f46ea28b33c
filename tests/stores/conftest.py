import shutil
from pathlib import Path

import pytest

from knownat.stores.repo import Applied, Repo, apply_repo, open_repo
from tests.stores import shop


@pytest.fixture(scope="session")
def applied_shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Applied]:
    """A shop applied once a session; tests that write take a copy."""
    path = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    return path, apply_repo(path)


@pytest.fixture(scope="session")
def repo(applied_shop: tuple[Path, Applied]) -> Repo:
    """A shop that tests only read."""
    return open_repo(applied_shop[0])


@pytest.fixture
def shop_copy(applied_shop: tuple[Path, Applied], tmp_path: Path) -> Path:
    """A shop of its own for a test that writes: applied, nothing materialized."""
    return shutil.copytree(applied_shop[0], tmp_path / "feature_repo")
