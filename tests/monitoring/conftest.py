import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from knownat.contract.release import read_release
from knownat.contract.workspace import Workspace
from tests.monitoring.shop_log import MODEL, VERSION, Shop, make_shop


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A released model without any log; trained once, copied by every test that writes."""
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop(trained: Shop, tmp_path: Path) -> Shop:
    """A released model of a test's own, whose log is empty."""
    shutil.copytree(trained.workspace.home, tmp_path, dirs_exist_ok=True)
    workspace = Workspace.at(tmp_path / "feature_repo")
    return replace(trained, workspace=workspace, release=read_release(workspace.releases / MODEL / VERSION))
