"""The command that looks for leaks, and prices one."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from knownat.contract.workspace import Workspace
from training.options import JsonOption, RepoOption, print_json, stages


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
    with stages() as report:
        if variant is None:
            found = find_leaks(workspace, model, progress=report)
        else:
            found, price = price_leaks(workspace, read_variant(variant), model, work=work, progress=report)
    if as_json:
        print_json({"certificate": found.as_json(), "price": price.as_json() if price else None})
    else:
        show_certificate(Console(), found)
        if price:
            show_price(Console(), price)
    if found.problems() or found.open_suspicions():
        raise typer.Exit(1)
