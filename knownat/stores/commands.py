"""The store's commands: apply definitions, fill the online store."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from knownat.clock import from_us, open_clock
from knownat.contract.workspace import Workspace

RepoOption = Annotated[
    Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ClockOption = Annotated[str, typer.Option("--clock", help="'system', or 'file:PATH' for a simulated clock.")]


def apply(
    repo: RepoOption = Path("feature_repo"),
    as_json: JsonOption = False,
    allow_breaking: Annotated[
        bool, typer.Option("--allow-breaking", help="Accept a changed type of a live feature.")
    ] = False,
) -> None:
    """Register the repo's definitions, and prove that none of them was silently left out.

    Example: knownat apply --repo feature_repo
    """
    from knownat.stores.repo import apply_repo

    applied = apply_repo(Workspace.at(repo).repo, allow_breaking=allow_breaking)
    if as_json:
        print_json(asdict(applied))
        return
    Console().print(f"Applied to {applied.project}: {applied.counted}.", highlight=False, soft_wrap=True)


def materialize(
    repo: RepoOption = Path("feature_repo"),
    until: Annotated[
        str | None,
        typer.Option("--until", help="Write what was visible by then (ISO 8601, UTC). Default: now."),
    ] = None,
    view: Annotated[list[str] | None, typer.Option("--view", help="Only this view; may be repeated.")] = None,
    clock: ClockOption = "system",
    as_json: JsonOption = False,
) -> None:
    """Bring the online store up to a time: every row that became visible since the last run.

    Example: knownat materialize --until 2013-10-15T00:00:00Z
    """
    from knownat.stores.materialization import materialize as run
    from knownat.stores.repo import open_repo

    moment = parse_time(until) if until else from_us(open_clock(clock).now_us())
    opened = open_repo(Workspace.at(repo).repo)
    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def report(name: str, rows: int, entities: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=entities)
            bar.advance(tasks[name], rows)

        done = run(opened, until=moment, views=view or None, progress=report)
    if as_json:
        print_json([asdict(view_done) for view_done in done])
        return
    shown = Table("view", "keys written", "from", "to", title="Online store")
    for item in done:
        shown.add_row(
            item.view, f"{item.rows:,}", f"{item.start:%Y-%m-%d %H:%M:%S}", f"{item.end:%Y-%m-%d %H:%M:%S}"
        )
    Console().print(shown)


def progress_bar() -> Progress:
    """Make a progress display on stderr, so that stdout stays the answer."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def print_json(document: object) -> None:
    """Print one JSON document on stdout; times in ISO 8601, paths as text."""
    sys.stdout.write(json.dumps(document, default=_as_text, indent=2) + "\n")


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def parse_time(text: str) -> datetime:
    """Read a time that a person wrote; it must have a zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not a time; write 2013-10-15T00:00:00Z") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(f"'{text}' has no time zone; write {moment.isoformat()}Z for UTC")
    return moment.astimezone(UTC)
