"""The commands of training: make releases, and say which of them serve."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from knownat.clock import open_clock
from knownat.contract.model_spec import read_spec
from knownat.contract.prediction_log import Role
from knownat.contract.release import Release
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from training.options import ClockOption, JsonOption, RepoOption, print_json


def train(
    models: Annotated[list[str], typer.Argument(help="Models to train, by the name of their TOML file.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    version: Annotated[
        str | None, typer.Option("--version", help="Name of the release; the next number by default.")
    ] = None,
    promotes: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Let a release that passes its gates serve.")
    ] = True,
    as_json: JsonOption = False,
    clock: ClockOption = "system",
) -> None:
    """Train models on what was known by their cutoff, judge them on what came after, and release them.

    Each model is joined, fitted and measured in a process of its own. A release is written even when
    a gate fails, so that it can be looked at; it does not serve, and the exit code is 1.

    Example: knownat train late_arrival minutes_late
    """
    from training.parallel import train_all
    from training.promotion import promote

    workspace = Workspace.at(repo)
    wanted = list(dict.fromkeys(models))
    _check_declarations(workspace, wanted)
    releases = train_all(workspace, wanted, version=version, clock=clock)
    promoted = {r.manifest.model for r in releases if promotes and r.manifest.passed}
    for release in releases:
        if release.manifest.model in promoted:
            promote(workspace, release.manifest.model, release.manifest.version, clock=open_clock(clock))
    _record(workspace)
    if as_json:
        document = [_document(r, promoted=r.manifest.model in promoted) for r in releases]
        print_json(document)
    else:
        console = Console()
        for release in releases:
            _show(console, release, promoted=release.manifest.model in promoted)
    if not all(release.manifest.passed for release in releases):
        raise typer.Exit(1)


def promote(
    model: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str, typer.Argument(help="The version that shall serve.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    role: Annotated[Role, typer.Option("--role", help="As what it answers.")] = Role.CHAMPION,
    share: Annotated[
        float | None,
        typer.Option("--share", help="The part of the requests a challenger answers.", min=0, max=1),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why it serves although a gate failed; kept on record.")
    ] = None,
    as_json: JsonOption = False,
    clock: ClockOption = "system",
) -> None:
    """Let a release serve, or go back to an earlier one.

    Example: knownat promote late_arrival 3
    """
    from training.promotion import promote as promote_release

    workspace = Workspace.at(repo)
    deployment = promote_release(
        workspace, model, version, role=role, share=share, reason=reason, clock=open_clock(clock)
    )
    _record(workspace)
    if as_json:
        print_json(deployment.model_dump(mode="json"))
        return
    Console().print(f"{model} {version} serves as {role}, from the next look at {workspace.deployment} on.")


def _record(workspace: Workspace) -> None:
    from training.registry import synchronise

    if problem := synchronise(workspace):
        Console(stderr=True).print(problem, highlight=False, markup=False)


def _check_declarations(workspace: Workspace, models: list[str]) -> None:
    """Find what is wrong with any of them before the first is trained."""
    problems = []
    for model in models:
        try:
            read_spec(workspace.model_file(model))
        except ConfigError as error:
            problems += [f"{model}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(workspace.models, problems)


def _document(release: Release, *, promoted: bool) -> dict[str, object]:
    manifest = release.manifest.model_dump(
        mode="json",
        include={
            "model",
            "version",
            "cutoff",
            "training_rows",
            "best_iteration",
            "metrics",
            "baselines",
            "gates",
        },
    )
    passed = release.manifest.passed
    return {
        **manifest,
        "passed": passed,
        "promoted": promoted,
        "path": str(release.path),
        "digest": release.digest,
    }


def _show(console: Console, release: Release, *, promoted: bool) -> None:
    manifest = release.manifest
    title = f"{manifest.model} {manifest.version}: {manifest.spec.time.test_days} days after the cutoff"
    shown = Table("metric", title=title, title_justify="left")
    for name in ("model", "95 % interval", *manifest.baselines):
        shown.add_column(name, justify="right")
    for metric, found in manifest.metrics.items():
        others = (f"{measured[metric]:.4f}" for measured in manifest.baselines.values())
        shown.add_row(metric, f"{found.value:.4f}", f"{found.low:.4f} .. {found.high:.4f}", *others)
    console.print(shown)
    for gate in manifest.gates:
        verdict = "[green]passed[/green]" if gate.passed else "[bold red]failed[/bold red]"
        console.print(f"  {verdict}  {gate.gate} ({gate.value:.4f})", highlight=False)
    console.print(
        f"  {'serves as champion' if promoted else 'does not serve'}; {release.path}", highlight=False
    )
