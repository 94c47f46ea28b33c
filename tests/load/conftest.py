"""A workspace of its own for each test, and the requests that load sends."""

import json

import pytest

from tests.load.clients import Target
from tests.serving.made_workspace import CUSTOMERS, MODEL, MadeWorkspace, make_workspace
from tests.serving.running import Running, fill_lmdb

PREDICT = f"/v1/models/{MODEL}/predict"


@pytest.fixture
def made(tmp_path) -> MadeWorkspace:
    made = make_workspace(tmp_path)
    fill_lmdb(made)
    return made


@pytest.fixture
def aim():
    """Give a running scorer's target: every customer in turn, each request named by its customer."""

    def aim_at(running: Running, path: str = PREDICT, rows: int = 1) -> Target:
        return Target(running.url, [(path, body(customer, rows)) for customer in range(0, CUSTOMERS, 3)])

    return aim_at


def body(first: int, rows: int) -> bytes:
    asked = [{"keys": {"customer": (first + i) % CUSTOMERS}} for i in range(rows)]
    named = {"request_id": str(first)}
    return json.dumps({**named, **asked[0]} if rows == 1 else {**named, "rows": asked}).encode()
