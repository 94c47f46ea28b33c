"""What every test shares: a repeatable hypothesis profile, and no silent skip where none is allowed."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.soak import SOAKING

pytest_plugins = ["tests.chromium"]

# Seeds are fixed so that a red run can be seen again; `--hypothesis-profile=explore` looks further.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=5_000)
settings.register_profile(
    "soak", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("soak" if SOAKING else "repeatable")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where everything must run (``KNOWNAT_NO_SKIP=1``)."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("KNOWNAT_NO_SKIP") == "1":
        report.outcome = "failed"
        report.longrepr = f"left out, but nothing may be: {item.nodeid}: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def run_knownat() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command in a process of its own; a test looks at its output and exit code."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("knownat")), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)

    return run


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run this Python in a process of its own."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, **options)

    return run
