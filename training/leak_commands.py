"""The command that looks for leaks, and prices one."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from knownat.contract.workspace import Workspace

RepoOption = Annotated[
    Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def leaks(
    model: Annotated[str, typer.Argument(help="The model whose features are searched.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    variant: Annotated[
        Path | None,
        typer.Option("--variant", help="Folder of a variant.toml: search that variant, and price it."),
    ] = None,
    work: Annotated[
        Path, typer.Option("--work", help="Where a variant is built; kept for the next time.")
    ] = Path("build/variants"),
    as_json: JsonOption = False,
) -> None:
    """Look for values that were not known when the question was asked.

    Every joined row's times are checked; everything that was not known at some instants is rewritten at
    random, and nothing before may move; leaks planted on purpose must be caught; and what looks like a
    leak is told in plain words. With a variant, both it and the repo are trained, and the leak is priced.

    The exit code is 1 if anything was found.

    Example: knownat leaks late_arrival --variant docs/leaky
    """
    from training.leak_tables import show_certificate, show_price
    from training.leaks import find_leaks, price_leaks
    from training.variant import read_variant

    workspace = Workspace.at(repo)
    price = None
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("start", total=None)

        def report(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total or None)

        if variant is None:
            found = find_leaks(workspace, model, progress=report)
        else:
            found, price = price_leaks(workspace, read_variant(variant), model, work=work, progress=report)
    if as_json:
        priced = price.as_json() if price else None
        sys.stdout.write(json.dumps({"certificate": found.as_json(), "price": priced}, indent=2) + "\n")
    else:
        show_certificate(Console(), found)
        if price:
            show_price(Console(), price)
    if found.problems() or found.open_suspicions():
        raise typer.Exit(1)
