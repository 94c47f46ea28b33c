"""The commands that list versions, and go back to one."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from knownat.clock import open_clock
from knownat.contract.workspace import Workspace
from knownat.stores.commands import parse_time
from training.options import ClockOption, JsonOption, RepoOption, print_json


def models(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    repo: RepoOption = Path("feature_repo"),
    *,
    at: Annotated[
        str | None, typer.Option("--at", help="Tell which version was champion then (ISO 8601, UTC).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List every version of every model: when it was made, how good it is, whether it serves.

    Example: knownat models late_arrival --at 2013-11-01T00:00:00Z
    """
    from training.overview import list_versions

    found = list_versions(Workspace.at(repo), model, at=parse_time(at) if at else None)
    if as_json:
        print_json([version.as_json() for version in found])
        return
    shown = Table(
        "model", "version", "made", "cutoff", "metric", "value", "95 % interval", "gates", "serves as"
    )
    for each in found:
        shown.add_row(
            each.model,
            each.version,
            f"{each.made:%Y-%m-%d %H:%M}",
            f"{each.cutoff:%Y-%m-%d}",
            each.metric,
            f"{each.value:.4f}",
            f"{each.low:.4f} .. {each.high:.4f}",
            "passed" if each.passed else "failed",
            each.role or "",
        )
    Console().print(shown)


def rollback(
    model: Annotated[str, typer.Argument(help="The model.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept on record.")] = None,
    as_json: JsonOption = False,
    clock: ClockOption = "system",
) -> None:
    """Let the champion before this one serve again. Called again, it goes back one more.

    Example: knownat rollback late_arrival --reason "slower than it should be"
    """
    from training.promotion import roll_back
    from training.registry import synchronise

    workspace = Workspace.at(repo)
    deployment = roll_back(workspace, model, reason=reason, clock=open_clock(clock))
    problem = synchronise(workspace)
    if as_json:
        print_json(deployment.model_dump(mode="json"))
    else:
        version = deployment.models[model].champion.version
        Console().print(f"{model} {version} serves as champion again.")
    if problem:
        Console(stderr=True).print(problem, highlight=False, markup=False)
