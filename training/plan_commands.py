"""The command that says what a change of definitions would do, before it lands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from knownat.clock import from_us, open_clock
from knownat.contract.workspace import Workspace
from knownat.stores.commands import parse_time
from training.options import ClockOption, JsonOption, RepoOption, print_json, stages

# Outlines import Feast, which costs seconds; help must not.
if TYPE_CHECKING:
    from knownat.stores.definition_changes import What


def plan(
    repo: RepoOption = Path("feature_repo"),
    *,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", help="A kind of breaking change that was looked at, such as 'ttl'; repeatable."
        ),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write the plan there, to post on a change request.")
    ] = None,
    traffic: Annotated[
        bool, typer.Option("--traffic/--no-traffic", help="Ask recent questions again in both worlds.")
    ] = True,
    until: Annotated[
        str | None, typer.Option("--until", help="Questions asked before then (ISO 8601, UTC). Default: now.")
    ] = None,
    days: Annotated[int, typer.Option("--days", help="How many days of questions.", min=1)] = 7,
    questions: Annotated[int, typer.Option("--questions", help="At most so many a release.", min=1)] = 5_000,
    as_json: JsonOption = False,
    clock: ClockOption = "system",
) -> None:
    """Say what the repo's files would change if they were applied: whom it touches, what it breaks.

    Nothing is applied. Changed files are registered apart, tables whose pipelines changed are built
    apart, and the questions that releases were asked lately are asked again with the old and the new
    definitions: which scores differ, by how much, and what that does to the metric.

    The exit code is 0 if nothing that serves breaks, 1 if something does, 2 on an error.

    Example: knownat plan --markdown plan.md
    """
    from training.plan_tables import render_markdown, show_plan
    from training.planning import make_plan
    from training.traffic import Recent

    moment = parse_time(until) if until else from_us(open_clock(clock).now_us())
    with stages() as report:
        found = make_plan(
            Workspace.at(repo),
            recent=Recent(moment, days, questions) if traffic else None,
            allowed=_kinds(allow or []),
            progress=report,
        )
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(render_markdown(found), encoding="utf-8")
    if as_json:
        print_json(found.as_json())
    else:
        show_plan(Console(), found)
    if found.breaks:
        raise typer.Exit(1)


def _kinds(names: list[str]) -> "list[What]":
    from knownat.stores.definition_changes import BREAKING, What

    known = [str(what) for what in BREAKING]
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"{unknown} are no breaking changes; there are {known}")
    return [What(name) for name in names]
