"""``knownat incident``: mark on the timelines what people know happened."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from knownat.contract.workspace import Workspace
from monitoring.incidents import Incident, mark_incident
from monitoring.site import write_site


def incident(
    text: Annotated[str, typer.Argument(help="What happened, in a sentence.")],
    repo: Annotated[
        Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO")
    ] = Path("feature_repo"),
    *,
    start: Annotated[str, typer.Option("--start", help="When it began (ISO 8601, UTC).")],
    end: Annotated[str | None, typer.Option("--end", help="When it was over; a moment without.")] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A model that it concerns; all without one.")
    ] = None,
) -> None:
    """Mark an incident: it is kept in incidents.toml in the repo, and shown on the timelines.

    Example: knownat incident "Ice storm, airport closed" --start 2013-11-27T12:00:00Z --model late_arrival
    """
    workspace = Workspace.at(repo)
    try:
        marked = Incident(
            start=_moment("--start", start),
            end=None if end is None else _moment("--end", end),
            models=tuple(model or ()),
            text=text,
        )
    except ValidationError as error:
        told = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(told) from error
    path = mark_incident(workspace, marked)
    write_site(workspace)
    Console().print(f"Marked in {path}", soft_wrap=True)


def _moment(option: str, text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} '{text}' is not a time; write 2013-10-15T04:00:00Z") from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
