"""Options and the progress display that the commands of training share."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_log = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]
"""Told what is being done, steps done, steps in all (0 if it is not known)."""

RepoOption = Annotated[
    Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ClockOption = Annotated[str, typer.Option("--clock", help="'system', or 'file:PATH' for a simulated clock.")]


@contextmanager
def stages() -> Iterator[Report]:
    """Show on stderr what is being done, so that stdout stays the answer.

    Where that is no terminal, as in a log of cron's, each stage is a line with ``--verbose``.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("start", total=None)
        told = ""

        def report(stage: str, done: int, total: int) -> None:
            nonlocal told
            bar.update(task, description=stage, completed=done, total=total or None)
            if stage != told and not bar.console.is_terminal:
                _log.info("%s", stage)
            told = stage

        yield report


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
