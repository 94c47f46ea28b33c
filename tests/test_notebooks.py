"""The notebooks, run from top to bottom in a kernel of their own; and the page of the functions they call."""

import importlib
import json
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
PAGE = ROOT / "docs" / "reference" / "python.md"
_RUNNER = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
where = {"metadata": {"path": sys.argv[2]}}
NotebookClient(notebook, kernel_name="python3", timeout=600, resources=where).execute()
nbformat.write(notebook, sys.argv[3])
"""
_CALL = re.compile(r"`([a-z_.]+)\.(\w+)\(")
_ROW = re.compile(r"^\| `knownat ([a-z -]+?)`", re.MULTILINE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs(path, tmp_path, run_python):
    done = run_python("-c", _RUNNER, str(path), str(path.parent), str(tmp_path / "ran.ipynb"))
    assert done.returncode == 0, done.stderr[-4_000:]
    ran = json.loads((tmp_path / "ran.ipynb").read_text())
    said = [output for cell in ran["cells"] for output in cell.get("outputs", [])]
    assert [output for output in said if output["output_type"] == "error"] == []
    assert "auc at most 0.02 worse than champion 1 on the same" in json.dumps(said)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_kept_without_its_output(path):
    cells = nbformat.read(path, as_version=4).cells
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


def test_every_function_of_the_page_is_there():
    calls = _CALL.findall(PAGE.read_text())
    assert len(calls) > 15
    for module, name in calls:
        assert callable(getattr(importlib.import_module(module), name)), (module, name)


def test_every_command_of_the_page_is_there(run_knownat):
    commands = set(_ROW.findall(PAGE.read_text()))
    offered = run_knownat("--help").stdout + run_knownat("features", "--help").stdout
    assert len(commands) > 10
    assert [command for command in sorted(commands) if command.split()[-1] not in offered] == []
