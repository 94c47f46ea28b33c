"""``knownat monitor``: judge a window of what a model answered."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from knownat.clock import Clock, from_us
from knownat.contract.model_spec import read_spec
from knownat.contract.workspace import Workspace
from monitoring.pipeline import INDEX, PAGE, WindowReport, monitor_window
from monitoring.summary import Level
from monitoring.times import chosen_window, clock_of
from monitoring.windows import Window, due_windows

_COLOURS = {Level.OK: "green", Level.WATCH: "yellow", Level.ALERT: "bold red"}


def monitor(
    *,
    model: Annotated[str, typer.Argument(help="The model's name, as its TOML is called.")],
    repo: Annotated[
        Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO")
    ] = Path("feature_repo"),
    start: Annotated[
        str | None, typer.Option("--start", help="First instant of the window (ISO 8601, UTC).")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="First instant after the window (ISO 8601, UTC).")
    ] = None,
    clock: Annotated[
        str, typer.Option("--clock", help="'system', or 'file:PATH' for a simulated clock.")
    ] = "system",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Judge what a model answered in a window of time, and write the report an analyst opens.

    Faults in the data, drift against the training data, and performance on the labels that have
    matured. Without --start and --end: the last complete window, and the last one whose labels have
    matured since. The index of all reports is reports/index.html beside the repo.

    Exit code 1 means that a window asks somebody to act.

    Example: knownat monitor late_arrival --start 2013-10-15T04:00:00Z --end 2013-10-16T04:00:00Z
    """
    workspace, opened = Workspace.at(repo), clock_of(clock)
    windows = _windows(workspace, model, start, end, opened)
    reports = []
    for window in windows:
        with Console(stderr=True).status(f"judging {window.folder}"):
            reports.append(monitor_window(workspace, model, start=window.start, end=window.end, clock=opened))
    if as_json:
        typer.echo(
            json.dumps({"model": model, "windows": [_document(report) for report in reports]}, indent=2)
        )
    else:
        _print(workspace, reports)
    if any(report.alert for report in reports):
        raise typer.Exit(1)


def _windows(
    workspace: Workspace, model: str, start: str | None, end: str | None, clock: Clock
) -> list[Window]:
    window = chosen_window(start, end)
    if window is not None:
        return [window]
    return due_windows(from_us(clock.now_us()), read_spec(workspace.model_file(model)).monitoring)


def _document(report: WindowReport) -> dict[str, object]:
    return {
        **report.summary.model_dump(mode="json", exclude={"features"}),
        "drifted": [drift.column for drift in report.summary.drifted],
        "page": str(report.folder / PAGE),
    }


def _print(workspace: Workspace, reports: list[WindowReport]) -> None:
    console = Console()
    table = Table("window (UTC)", "verdict", "why", "predictions", "labels", "faults", "drifted")
    for report in reports:
        s = report.summary
        colour = _COLOURS[s.verdict.level]
        table.add_row(
            f"{s.start:%Y-%m-%d %H:%M} to {s.end:%Y-%m-%d %H:%M}",
            f"[{colour}]{s.verdict.level.value}[/{colour}]",
            "\n".join(s.verdict.reasons),
            f"{s.rows:,}",
            f"{s.performance.labelled:,} of {s.performance.matured:,}",
            str(len(s.faults)),
            f"{len(s.drifted)} of {len(s.features)}",
        )
    console.print(table)
    console.print(f"Open {workspace.reports / INDEX}", soft_wrap=True)
