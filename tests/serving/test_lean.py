"""A scorer loads what it serves with, and nothing of what it was trained with."""

import signal
import subprocess

import httpx
import pytest

from knownat.contract.log_reader import journals_in
from serving.lean import NotHere
from tests.serving.made_workspace import MODEL, make_workspace
from tests.serving.running import fill_lmdb, serving

HEAVY = {"feast", "pandas", "mlflow", "evidently", "lightgbm", "duckdb", "polars", "sklearn"}


def test_a_scorer_imports_none_of_the_heavy_packages(tmp_path):
    made = make_workspace(tmp_path)
    fill_lmdb(made)
    with serving(made, python=("-X", "importtime"), stderr=subprocess.PIPE) as running:
        with httpx.Client(base_url=running.url, timeout=30) as client:
            for rows in (1, 5, 100):
                body = {"rows": [{"keys": {"customer": 3}}] * rows}
                assert client.post(f"/v1/models/{MODEL}/predict", json=body).status_code == 200
            assert client.get("/openapi.json").status_code == 200
            assert client.get("/health/ready").status_code == 200
        running.process.send_signal(signal.SIGTERM)
        _, said = running.process.communicate(timeout=60)

    names = {line.rsplit("|", 1)[1].strip() for line in said.splitlines() if "|" in line}
    # An import that is refused has a line too, but no module below it.
    imported = {name.split(".")[0] for name in names if "." in name}
    assert journals_in(made.workspace.predictions / MODEL / "1") == []  # sealed, which makes lists into Arrow
    assert {"pyarrow", "numpy", "uvicorn"} <= imported
    assert not imported & HEAVY


def test_what_is_kept_out_is_as_if_it_were_not_installed():
    finder = NotHere(["pandas"])

    with pytest.raises(ModuleNotFoundError, match="imports no pandas"):
        finder.find_spec("pandas", None)
    assert finder.find_spec("pandas_like", None) is None
