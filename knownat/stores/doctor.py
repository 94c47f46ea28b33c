"""``knownat doctor``: look for what can be silently wrong, before it is expensively wrong."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from knownat.contract.workspace import Workspace
from knownat.stores.commands import JsonOption, RepoOption, print_json

# The checks import Feast, which costs seconds; help must not.
if TYPE_CHECKING:
    from knownat.stores.checks import Finding


def doctor(repo: RepoOption = Path("feature_repo"), as_json: JsonOption = False) -> None:
    """Look for what can be silently wrong with a repo, its stores and its releases.

    Changes nothing. Exits with 1 if it found a problem; every problem names the next step.

    Example: knownat doctor --repo feature_repo
    """
    from knownat.stores.checks import Finding, check_libgomp, examine
    from knownat.stores.repo import open_repo

    findings = [Finding("LightGBM's system library is installed", tuple(check_libgomp()))]
    findings += examine(open_repo(Workspace.at(repo).repo))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings, Console())
    if any(finding.problems for finding in findings):
        raise typer.Exit(1)


def _print(findings: "list[Finding]", console: Console) -> None:
    for finding in findings:
        mark = "[red]problem[/red]" if finding.problems else "[green]ok[/green]     "
        console.print(f"{mark} {finding.check}")
        for problem in finding.problems:
            console.print(f"        {problem}", highlight=False, markup=False)
