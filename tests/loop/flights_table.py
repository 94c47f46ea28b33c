"""How well the flights can be told, honestly and otherwise, in one table: ``make flights-table``.

Trains every model of the table anew (about ten CPU minutes), below ``build/flights-table``, each in
a process of its own. Writes ``docs/flights-table.json``, its drawings, and ``docs/reference/flights.md``.
The exit code is 1 if an AUC is not within .005 of what it is known to be. A run that was stopped is
taken up where it was: ``--again`` starts anew.
"""

import argparse
import hashlib
import json
import multiprocessing
import shutil
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console

from knownat.contract.workspace import Workspace
from knownat.stores.pipelines import build_features
from knownat.stores.repo import apply_repo
from tests.loop.flights_models import judge_at, judge_fooled, judge_honest, judge_leaking
from tests.loop.flights_page import LEADS, draw_leads, draw_rows, off_by_more, page, print_table

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FOLDER = ROOT / "build" / "flights-table"
_MADE_BY = ("knownat", "training", "feature_repo", "docs/leaky", "tests/loop/flights_models.py")

Found = dict[str, dict[str, Any]]
console = Console(stderr=True)


def main() -> int:
    """Judge what was not judged yet, print the table, write the page, and say whether it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="judge everything anew")
    if parser.parse_args().again:
        shutil.rmtree(FOLDER, ignore_errors=True)
    parts = []
    for name, judge in _judges().items():
        parts.append(_judged(name, judge))
        # After each, so that a run that is stopped has not been for nothing.
        _write(found := merge(parts))
    print_table(Console(width=None if sys.stdout.isatty() else 120), found)
    off = off_by_more(found)
    for told in off:
        console.print(f"[red]{told}[/red]", highlight=False)
    return 1 if off else 0


def merge(parts: list[Mapping[str, Any]]) -> Found:
    """Put what several processes found into one document."""
    found: Found = {"rows": {}, "leads": {}}
    for part in parts:
        for name, value in part.items():
            if name in ("rows", "leads"):
                found[name].update(value)
            else:
                found[name] = value
    found["leads"]["2 HOURS"] = found["rows"]["honest"]["auc"]
    return found


def _judges() -> dict[str, Callable[..., Mapping[str, object]]]:
    others = {f"lead-{lead.replace(' ', '-').lower()}": partial(judge_at, lead=lead) for lead in LEADS}
    leaking = partial(judge_leaking, leaky=DOCS / "leaky")
    return {"honest": judge_honest, "fooled": judge_fooled, "leaking": leaking, **others}


def _judged(name: str, judge: Callable[..., Mapping[str, object]]) -> Mapping[str, Any]:
    """Judge in a process of its own, whose two gigabytes go with it, or take what was found before."""
    made_by, kept = _fingerprint(), FOLDER / f"{name}.json"
    if kept.is_file() and (before := json.loads(kept.read_text()))["made_by"] == made_by:
        return dict(before["found"])
    workspace = _lay_out()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        found = pool.submit(judge, workspace, FOLDER, partial(_say, name)).result()
    kept.write_text(json.dumps({"made_by": made_by, "found": to_jsonable_python(found)}))
    return dict(to_jsonable_python(found))


def _lay_out() -> Workspace:
    workspace = Workspace.at(FOLDER / "feature_repo")
    ignored = shutil.ignore_patterns("data", "__pycache__")
    shutil.copytree(ROOT / "feature_repo", workspace.repo, ignore=ignored, dirs_exist_ok=True)
    build_features(workspace.repo, progress=partial(_say, "features"))
    apply_repo(workspace.repo)
    return workspace


def _say(name: str, stage: str) -> None:
    console.print(f"{name}: {stage}", highlight=False)


def _fingerprint() -> str:
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    for path in sorted(p for name in _MADE_BY for p in ((ROOT / name), *(ROOT / name).rglob("*"))):
        if path.is_file() and "data" not in path.parts and path.suffix in {".py", ".sql", ".toml", ".csv"}:
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def _write(found: Found) -> None:
    (DOCS / "flights-table.json").write_text(json.dumps(found, indent=1) + "\n")
    (DOCS / "flights-table.svg").write_text(draw_rows(found))
    if len(found["leads"]) > 1:
        (DOCS / "flights-lead-time.svg").write_text(draw_leads(found))
    (DOCS / "reference" / "flights.md").write_text(page(found))


if __name__ == "__main__":
    raise SystemExit(main())
