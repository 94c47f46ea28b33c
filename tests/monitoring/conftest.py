import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from knownat.contract.release import read_release
from knownat.contract.workspace import Workspace
from tests.monitoring.shop_log import MODEL, VERSION, Shop, make_shop

_CHROMIUM, _DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


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


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Callable[[int], webdriver.Chrome]]:
    """Open headless Chromium windows of a given width, with the network off."""
    if missing := [path for path in (_CHROMIUM, _DRIVER) if not Path(path).exists()]:
        reason = f"{missing[0]} is not installed (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("KNOWNAT_NO_SKIP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    opened: list[webdriver.Chrome] = []

    def open_window(width: int) -> webdriver.Chrome:
        options = Options()
        options.binary_location = _CHROMIUM
        profile = tmp_path / f"chromium-{len(opened)}"
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},1400"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        browser = webdriver.Chrome(options=options, service=Service(_DRIVER))
        opened.append(browser)
        return browser

    yield open_window
    for browser in opened:
        browser.quit()
