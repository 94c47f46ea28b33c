"""The command that tells what features are worth."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from knownat.contract.workspace import Workspace
from training.options import JsonOption, RepoOption, print_json, stages

if TYPE_CHECKING:
    from training.worth import Worth, Worths


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
    listed last, with their cost. Nothing is changed.

    Example: knownat worth late_arrival --by view
    """
    from training.worth import measure_worth

    with stages() as report:
        found = measure_worth(Workspace.at(repo), model, by=by, folds=folds, progress=report)
    if as_json:
        print_json(found.as_json())
    else:
        show_worths(Console(), found)


def show_worths(console: Console, found: "Worths") -> None:
    """Print every group, those that earn nothing last, the dearest of them first."""
    idle = found.earning_nothing
    title = f"{found.model}: {found.metric} {found.value:.4f} on {found.questions:,} questions"
    shown = Table(title=title, title_justify="left")
    shown.add_column("left out", overflow="fold")
    for name in ("worse by", "95 % interval", "bytes", "us"):
        shown.add_column(name, justify="right", no_wrap=True)
    for group in found.groups:
        if group.earns:
            shown.add_row(*_cells(group))
    shown.add_section()
    for group in idle:
        shown.add_row(*_cells(group))
    console.print(shown)
    for line in _verdict(found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _cells(group: "Worth") -> tuple[str, ...]:
    gain, upkeep = group.gain, group.upkeep
    interval = f"{gain.low:+.4f} .. {gain.high:+.4f}"
    return group.name, f"{gain.value:+.4f}", interval, f"{upkeep.bytes_a_row:.0f}", f"{upkeep.us_a_row:.2f}"


def _verdict(found: "Worths") -> Iterator[str]:
    idle, count = found.earning_nothing, len(found.groups)
    if not idle:
        yield f"Each of the {count} earns something."
        return
    yield (
        f"Of the {len(idle)} listed last, of {count}, no gain can be told from nothing; the dearest come "
        "first. Two that tell the same have no gain each: leave one out, then measure again. More --folds "
        "narrow the intervals."
    )
    if better_without := [group.name for group in idle if group.gain.high < 0]:
        yield f"The model is better without {', '.join(better_without)}."
