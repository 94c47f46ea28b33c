"""The command that makes a release again."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from knownat.contract.workspace import Workspace
from training.options import JsonOption, RepoOption, print_json, stages


def reproduce(
    model: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str, typer.Argument(help="The version to make again.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    release: Annotated[
        Path | None,
        typer.Option("--release", help="A copy of the release, where it is not among this repo's own."),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Try although code, packages or threads are others.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a release again from its own declaration and cutoff, and compare it byte for byte.

    If the model has other bytes, whatever it was made of that is not what it was is named: an edited
    definition, a source row that was changed. The exit code is 1 then, and 2 where code or packages are
    others than the release's, since nothing could be said.

    Example: knownat reproduce late_arrival 3
    """
    from training.reproduction import find_release
    from training.reproduction import reproduce as make_again

    workspace = Workspace.at(repo)
    kept = find_release(workspace, model, version, folder=release)
    with stages() as report:
        found = make_again(workspace, kept, anyway=anyway, progress=report)
    if as_json:
        print_json(found.as_json())
    else:
        console = Console()
        verdict = "[green]the same bytes[/green]" if found.same else "[bold red]other bytes[/bold red]"
        console.print(f"{model} {version}: {verdict}")
        for name, same in found.files.items():
            console.print(f"  {'same ' if same else 'other'}  {name}", highlight=False)
        for told in (*found.environment, *found.changed, *found.later):
            console.print(f"  {told}", highlight=False, markup=False)
    if not found.same:
        raise typer.Exit(1)
