"""The command that looks for better parameters."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from knownat.contract.workspace import Workspace
from training.options import JsonOption, RepoOption, print_json, stages

if TYPE_CHECKING:
    from training.tuning import Tuned

INTERRUPTED = 130
"""The exit code of a command that was stopped with ^C, as shells have it."""


def tune(
    model: Annotated[str, typer.Argument(help="The model whose parameters are looked for.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    trials: Annotated[
        int, typer.Option("--trials", help="Finished trials in all, earlier runs' too.", min=1)
    ] = 40,
    folds: Annotated[int, typer.Option("--folds", help="Folds in time, all before the cutoff.", min=1)] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Another seed is another study.", min=0)] = 1,
    storage: Annotated[
        Path | None, typer.Option("--storage", help="SQLite file of the study; tuning/MODEL.db by default.")
    ] = None,
    patch: Annotated[
        Path | None, typer.Option("--patch", help="Write there what to change in the declaration.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for LightGBM parameters that do better on the days before the cutoff.

    The test days are never touched, so that a gate on them stays an honest one. Stop it when you like:
    called again, it goes on where it stopped. Nothing is declared and nothing is trained; it says what
    to write into the declaration.

    Example: knownat tune late_arrival --trials 40 --patch tuned.diff
    """
    from training.parameter_words import diff_declaration
    from training.tuning import tune as run

    workspace = Workspace.at(repo)
    try:
        with stages() as report:
            found = run(
                workspace, model, trials=trials, folds=folds, seed=seed, storage=storage, progress=report
            )
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped. What was tried is kept: the same command goes on from there.")
        raise typer.Exit(INTERRUPTED) from None
    words = diff_declaration(workspace.model_file(model), found.params) if found.better else ""
    if patch is not None and words:
        patch.parent.mkdir(parents=True, exist_ok=True)
        patch.write_text(words, encoding="utf-8")
    if as_json:
        print_json({**vars(found), "better": found.better, "patch": words})
        return
    _show(found, words, repo=repo, patch=patch)


def _show(found: "Tuned", words: str, *, repo: Path, patch: Path | None) -> None:
    from training.parameter_words import write_params

    console = Console()
    console.print(_folds(found))
    if not found.better:
        console.print("Nothing was found that does better than what is declared.")
        return
    console.print(f"The best of {found.trials} is that partly by luck: train it, and let its gates say.\n")
    told = words if patch is None and words else write_params(found.params)
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    if patch is not None and words:
        console.print(f"To declare it: patch -p1 -d {repo} < {patch}", highlight=False, soft_wrap=True)


def _folds(found: "Tuned") -> Table:
    shown = Table(f"{found.metric} of fold", title=f"{found.trials} trials, {found.pruned} given up early")
    for number in range(len(found.declared)):
        shown.add_column(str(number + 1), justify="right")
    shown.add_column("mean", justify="right")
    for title, values in (("declared", found.declared), ("best", found.best)):
        mean = sum(values) / len(values)
        shown.add_row(title, *(f"{value:.4f}" for value in values), f"{mean:.4f}")
    return shown
