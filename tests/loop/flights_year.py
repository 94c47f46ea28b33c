"""Half a year of flights in production, prepared once: ``build/year``.

``late_arrival`` is trained on what was known by June, tested on June, and answers every flight of
July to December at its own time. Kept for the next run as long as nothing that made it changed.
"""

import hashlib
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.model_spec import read_spec
from knownat.contract.release import (
    Deployed,
    Deployment,
    ModelDeployment,
    read_release,
    write_deployment,
)
from knownat.contract.workspace import Workspace
from knownat.stores.repo import open_repo
from tests.loop.offline_log import write_log
from training.examples import read_examples

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "year"
MODEL, VERSION = "late_arrival", "june"
START = datetime(2013, 7, 1, 4, tzinfo=UTC)  # midnight in New York
END = datetime(2014, 1, 1, 5, tzinfo=UTC)
_CUTOFF = "cutoff = 2013-06-01T04:00:00Z"
_DONE = (0, 1)
"""Done, and done with a gate that spoke."""
_MADE_BY = (
    "knownat",
    "training",
    "feature_repo",
    "tests/loop/flights_year.py",
    "tests/loop/offline_log.py",
)


def prepare_year(folder: Path = FOLDER) -> Workspace:
    """Return a workspace with one release and its log of half a year, made where it is not there."""
    workspace, stamp = Workspace.at(folder / "feature_repo"), folder / "made.sha256"
    made_by = _fingerprint()
    if stamp.is_file() and stamp.read_text() == made_by:
        return workspace
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        ROOT / "feature_repo", workspace.repo, ignore=shutil.ignore_patterns("data", "__pycache__")
    )
    _retime(workspace.model_file(MODEL))
    repo = str(workspace.repo)
    for words in (("features", "build"), ("apply", "--json"), ("train", MODEL, "--version", VERSION)):
        _knownat(*words, "--repo", repo)
    _deploy(workspace)
    _fill_log(workspace)
    stamp.write_text(made_by)
    return workspace


def _deploy(workspace: Workspace) -> None:
    # Whatever its gates said: June is another season than the one they were set for.
    release = read_release(workspace.releases / MODEL / VERSION)
    champion = Deployed(version=VERSION, digest=release.digest)
    write_deployment(workspace.deployment, Deployment(models={MODEL: ModelDeployment(champion=champion)}))


def _fill_log(workspace: Workspace) -> None:
    release = read_release(workspace.releases / MODEL / VERSION)
    examples = read_examples(workspace, read_spec(workspace.model_file(MODEL)))
    write_log(workspace.predictions, release, open_repo(workspace.repo), _asked_between(examples))


def _asked_between(examples: pa.Table) -> pa.Table:
    when = examples["event_timestamp"]
    first, last = (pa.scalar(moment, when.type) for moment in (START, END))
    return examples.filter(pc.and_(pc.greater_equal(when, first), pc.less(when, last)))


def _retime(file: Path) -> None:
    lines = file.read_text().splitlines()
    changed = [
        _CUTOFF if line.startswith("cutoff") else "test_days = 30" if line.startswith("test_days") else line
        for line in lines
    ]
    # Gates are promises of another season's test.
    first_gate = next(i for i, line in enumerate(changed) if line == "[[gates]]")
    file.write_text("\n".join(changed[:first_gate]) + "\n")


def _fingerprint() -> str:
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    for path in sorted(p for name in _MADE_BY for p in _files(ROOT / name)):
        if "data" not in path.parts and path.suffix in {".py", ".sql", ".toml", ".csv", ".yaml"}:
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]


def _knownat(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("knownat")), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    if done.returncode not in _DONE:
        raise SystemExit(f"`{' '.join(command)}` ended with {done.returncode}")


if __name__ == "__main__":
    prepare_year()
