"""What every test shares: a repeatable hypothesis profile, and no silent skip where none is allowed."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# Seeds are fixed so that a red run can be seen again; `--hypothesis-profile=explore` looks further.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=5_000)
settings.load_profile("repeatable")


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
