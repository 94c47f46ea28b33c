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
    shown = Table("left out", title=title, title_justify="left")
    for name in ("columns", "costs the metric", "95 % interval", "bytes a row", "us a row"):
        shown.add_column(name, justify="right")
    for group in found.groups:
        gain, upkeep = group.gain, group.upkeep
        shown.add_row(
            group.name,
            str(len(group.columns)),
            f"{gain.value:+.5f}",
            f"{gain.low:+.5f} .. {gain.high:+.5f}",
            f"{upkeep.bytes_a_row:.0f}" if upkeep.bytes_a_row else "on demand",
            f"{upkeep.us_a_row:.2f}",
        )
    console.print(shown)
    for group in found.earning_nothing:
        cost = f"{group.upkeep.bytes_a_row:.0f} bytes and {group.upkeep.us_a_row:.2f} us a row"
        console.print(
            f"  {group.name} earns nothing that can be told from 0; it costs {cost}.", highlight=False
        )
