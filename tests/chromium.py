"""Headless Chromium without a network, as a fixture of every test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

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
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Callable[[int], "Chrome"]]:
    """Open headless Chromium windows of a given width, with the network off but for this machine."""
    # Most runs open no browser, and need not wait for its driver's library.
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    if missing := [path for path in (_CHROMIUM, _DRIVER) if not Path(path).exists()]:
        reason = f"{missing[0]} is not installed (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("KNOWNAT_NO_SKIP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    opened: list[Chrome] = []

    def open_window(width: int) -> "Chrome":
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
