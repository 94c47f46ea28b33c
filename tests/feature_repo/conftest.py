"""The flights tables, built once, and the raw flights, read without our SQL."""

import fcntl
from pathlib import Path

import pytest

from knownat.stores.pipelines import BuiltTable, build_features
from tests.feature_repo.raw_flights import RawFlights, read_raw_flights

REPO = Path(__file__).parents[2] / "feature_repo"


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, BuiltTable]:
    """Build every feature table of the repo; the second worker finds them built."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with (shared / "flights.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return {table.name: table for table in build_features(REPO, output=shared / "flights")}


@pytest.fixture(scope="session")
def raw() -> RawFlights:
    return read_raw_flights()
