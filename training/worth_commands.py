"""The command that tells what features are worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from knownat.contract.workspace import Workspace
from training.options import JsonOption, RepoOption, print_json, stages

if TYPE_CHECKING:
    from training.worth import Worths


def worth(
    model: Annotated[str, typer.Argument(help="The model whose features are weighed.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    by: Annotated[
        Literal["view", "column"], typer.Option("--by", help="What is left out at a time.")
    ] = "view",
    folds: Annotated[int, typer.Option("--folds", help="Folds in time, all before the cutoff.", min=1)] = 1,
    as_json: JsonOption = False,
) -> None:
    """Tell what each group of features earns, and what it costs to keep and to serve.

    The model is fitted again without each group, and compared with the whole one on the same questions,
    days before the cutoff that neither was fitted to. Groups whose gain cannot be told from nothing are
    listed with their cost. Nothing is changed.

    Example: knownat worth late_arrival --by view
    """
    from training.worth import measure_worth

    with stages() as report:
        found = measure_worth(Workspace.at(repo), model, by=by, folds=folds, progress=report)
    if as_json:
        print_json(found.as_json())
    else:
        _show(Console(), found)


def _show(console: Console, found: "Worths") -> None:
    title = f"{found.model}: {found.metric} {found.value:.4f} on {found.questions:,} questions"
    shown = Table(title=title, title_justify="left")
    shown.add_column("left out", overflow="fold")
    for name in ("worse by", "95 % interval", "bytes", "us"):
        shown.add_column(name, justify="right", no_wrap=True)
    for group in found.groups:
        gain, upkeep = group.gain, group.upkeep
        shown.add_row(
            group.name,
            f"{gain.value:+.5f}",
            f"{gain.low:+.4f} .. {gain.high:+.4f}",
            f"{upkeep.bytes_a_row:.0f}",
            f"{upkeep.us_a_row:.2f}",
        )
    console.print(shown)
    for group in found.earning_nothing:
        verdict = "The model is better without" if group.gain.high < 0 else "Nothing is seen to be earned by"
        cost = f"{group.upkeep.bytes_a_row:.0f} bytes and {group.upkeep.us_a_row:.2f} us a row"
        console.print(f"{verdict} {group.name}, which costs {cost}.", highlight=False, soft_wrap=True)
