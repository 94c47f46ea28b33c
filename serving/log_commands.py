"""``knownat log``: what the prediction log holds, and how long it holds it."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from knownat.clock import from_us, open_clock
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError

if TYPE_CHECKING:
    from serving.retention import Plan

app = typer.Typer(help="Look at the prediction log, and take old rows out of it.", no_args_is_help=True)

RepoOption = Annotated[
    Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ClockOption = Annotated[str, typer.Option("--clock", help="'system', or 'file:PATH' for a simulated clock.")]

_SPOKE = 1


@app.command()
def show(*, repo: RepoOption = Path("feature_repo"), as_json: JsonOption = False) -> None:
    """List the log's folders: rows, how many of them in open journals, bytes, torn bytes, and the span."""
    from serving.log_books import read_books

    books = read_books(Workspace.at(repo).predictions)
    if as_json:
        _print(json.dumps([book.told() for book in books]))
        return
    for book in books:
        told = book.told()
        _print(
            f"{told['log']}: {book.rows:,} rows ({book.unsealed:,} in open journals), {book.bytes:,} bytes, "
            f"{book.torn_bytes:,} torn; {told['first'] or 'nothing'} to {told['last'] or 'nothing'}"
        )


@app.command()
def prune(
    model: Annotated[str | None, typer.Argument(help="Only this model's rows. Default: all.")] = None,
    *,
    days: Annotated[
        int | None, typer.Option("--days", help="Take rows that are older than so many days.", min=1)
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", help="Take rows from before then (ISO 8601 with a zone).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also rows whose labels may still arrive.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept on record.")] = None,
    repo: RepoOption = Path("feature_repo"),
    clock: ClockOption = "system",
    as_json: JsonOption = False,
) -> None:
    """Take predictions asked, and labels posted, before a moment out of the log.

    Rows in journals that are still written stay, and are counted; run it again once they are sealed. Rows
    whose labels may still arrive stay unless --force. What went is a line of predictions/retention.jsonl.

    Exit code 1: rows from before the moment are still there.

    Example: knownat log prune --days 365 --dry-run
    """
    from serving.retention import apply_retention, as_told, plan_retention, seal_abandoned

    workspace, now = Workspace.at(repo), from_us(_clock_us(clock))
    if not dry_run:
        seal_abandoned(workspace.predictions)
    plan = plan_retention(workspace, model, before=_moment(days, before, now), now=now)
    held = bool(plan.unlabelled) and not force
    if not dry_run and not held and plan.takes:
        apply_retention(workspace, plan, now=now, reason=reason)
    if as_json:
        _print(json.dumps({**as_told(plan), "dry_run": dry_run, "done": not dry_run and not held}))
    else:
        _tell(plan, dry_run=dry_run, held=held)
    if not dry_run and (held or plan.kept_rows):
        raise typer.Exit(_SPOKE)


def _tell(plan: "Plan", *, dry_run: bool, held: bool) -> None:
    verb = "would go" if dry_run else "stay" if held else "went"
    _print(
        f"{plan.prediction_rows:,} predictions and {plan.label_rows:,} labels from before "
        f"{plan.before:%Y-%m-%d %H:%M}Z {verb}."
    )
    if plan.value_rows:
        _print(f"{plan.value_rows:,} rows of values beside reports of skew go with them.")
    advice = " Use --force, or an earlier moment." if held else ""
    for name, rows in plan.unlabelled.items():
        _print(f"{rows:,} of '{name}' may still get a label.{advice}")
    if plan.kept_rows:
        journals = len(plan.unsealed)
        _print(f"{plan.kept_rows:,} more are in {journals} journals that are not sealed, and stay for now.")


def _moment(days: int | None, before: str | None, now: datetime) -> datetime:
    if (days is None) == (before is None):
        raise ConfigError("knownat log prune", ["give either --days or --before"])
    if days is not None:
        return now - timedelta(days=days)
    try:
        moment = datetime.fromisoformat(before or "")
    except ValueError as error:
        raise ConfigError("--before", ["is not a time; write 2024-01-01T00:00:00Z"]) from error
    if moment.tzinfo is None:
        raise ConfigError("--before", ["has no time zone; add Z for UTC"])
    return moment.astimezone(UTC)


def _clock_us(text: str) -> int:
    try:
        return open_clock(text).now_us()
    except ValueError as error:
        raise ConfigError("--clock", [str(error)]) from error


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
