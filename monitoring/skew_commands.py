"""``knownat skew``: whether what was served is what training would have seen, and if not, why."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from knownat.clock import from_us
from knownat.contract.log_reader import read_predictions
from knownat.contract.model_spec import read_spec
from knownat.contract.pseudonyms import read_pseudonyms
from knownat.contract.workspace import Workspace
from monitoring.skew_report import EXPECTED, SkewReport
from monitoring.times import chosen_window, clock_of
from monitoring.windows import Window, due_windows

SAMPLE_ROWS = 2_000


def skew(
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
    rows: Annotated[
        int, typer.Option("--rows", min=1, help="How many predictions of each version to compare.")
    ] = SAMPLE_ROWS,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every prediction.")] = False,
    pseudonym_key: Annotated[
        Path | None,
        typer.Option(
            "--pseudonym-key",
            help="File of the secret that keys are hashed with in the log, where the model declares them so.",
            envvar="KNOWNAT_PSEUDONYM_KEY",
        ),
    ] = None,
    clock: Annotated[
        str, typer.Option("--clock", help="'system', or 'file:PATH' for a simulated clock.")
    ] = "system",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Compare what was served with what training would have seen, and name the cause of each difference.

    A sample of the window's predictions, even over time, unless --exact. Without --start and --end:
    the last complete window.

    Exit code 1 means that a cause was found which somebody has to mend; rows that were only not written
    yet are none.

    Example: knownat skew late_arrival --start 2013-10-15T04:00:00Z --end 2013-10-16T04:00:00Z --exact
    """
    # Opening a repo imports Feast: not before the words were understood.
    from monitoring.explaining import explain_skew
    from monitoring.revealing import reveal_keys

    workspace, opened = Workspace.at(repo), clock_of(clock)
    window = chosen_window(start, end)
    if window is None:
        monitoring = read_spec(workspace.model_file(model)).monitoring
        window = due_windows(from_us(opened.now_us()), monitoring)[0]
    predictions = read_predictions(workspace.predictions, model, start=window.start, end=window.end)
    secret = None if pseudonym_key is None else read_pseudonyms(pseudonym_key)
    predictions = reveal_keys(workspace, model, predictions, secret)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("comparing")
        report = explain_skew(
            workspace,
            model,
            predictions,
            rows=None if exact else rows,
            progress=lambda view: bar.update(task, description=f"comparing {view}"),
        )
    if as_json:
        typer.echo(json.dumps(_document(model, window, report), indent=2))
    else:
        _print(report)
    if report.unexpected:
        raise typer.Exit(1)


def _document(model: str, window: Window, report: SkewReport) -> dict[str, object]:
    return {
        "model": model,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "exact": report.exact,
        "differences": report.differences,
        "causes": {cause.value: count for cause, count in report.causes.items()},
        **report.model_dump(mode="json"),
    }


def _print(report: SkewReport) -> None:
    console = Console()
    which = "all" if report.exact else "a sample"
    console.print(
        f"{report.rows:,} of {report.asked:,} predictions ({which}), {report.values:,} values: "
        f"{report.differences:,} differ from what training would have seen."
    )
    if not report.columns:
        return
    table = Table("column", "cause", "values", "served", "offline", "prediction")
    for column in report.columns:
        for cause, count in column.causes.items():
            example = next(e for e in column.examples if e.cause is cause)
            colour = "dim" if cause in EXPECTED else "bold red"
            named = f"[{colour}]{cause.value}[/{colour}]"
            table.add_row(
                column.column, named, f"{count:,}", example.served, example.offline, example.prediction_id
            )
    console.print(table)
