"""``knownat monitor``: judge what models answered, decide what that asks for, and tell."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from knownat.contract.pseudonyms import read_pseudonyms
from knownat.contract.verdict import Action, ModelVerdict
from knownat.contract.workspace import Workspace
from monitoring.jobs import ALL_JOBS, Job
from monitoring.pipeline import WindowReport
from monitoring.runs import ModelRun, Progress, Work, deployed_models, monitor_models, usual_length
from monitoring.spans import chosen_windows
from monitoring.times import chosen_window, clock_of
from monitoring.window_files import INDEX, PAGE
from monitoring.windows import Window

_COLOURS = {
    Action.OK: "green",
    Action.WATCH: "yellow",
    Action.ALERT: "bold red",
    Action.RETRAIN: "bold magenta",
}
_ERROR = 2
_WINDOWS_SHOWN = 8


def monitor(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models to judge; all that serve by default.")
    ] = None,
    *,
    repo: Annotated[
        Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO")
    ] = Path("feature_repo"),
    job: Annotated[
        list[Job] | None, typer.Option("--job", help="Only this job; may be given again. All by default.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="First instant of one window (ISO 8601, UTC).")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="First instant after that window (ISO 8601, UTC).")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="Judge every window from here on (ISO 8601, UTC).")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="First instant after the last of those windows.")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", help="Their length: day, week, 6h, 14d, 4w; the declared one.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Do what was done already again, from the same rows too.")
    ] = False,
    pseudonym_key: Annotated[
        Path | None,
        typer.Option(
            "--pseudonym-key",
            help="File of the secret that keys are hashed with in the log; for the job skew.",
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
    """Judge what models answered, decide what that asks for, and write the pages an analyst opens.

    Faults in the data, drift, performance on matured labels, and values served otherwise than trained.
    Without a span: every window that is due, those of missed runs and of matured labels too. What was
    judged already from the same rows and labels is not judged again, so it can run from cron as often as
    you like. A window that cannot be judged is named at the end and stops no other.

    Writes reports/index.html beside the repo, a verdict.json for each model, and knownat.prom.
    Exit code 1: a verdict is alert or retrain. Exit code 2: something could not be judged.

    Example: knownat monitor late_arrival --from 2013-07-01 --to 2013-12-31 --every week
    """
    workspace, opened = Workspace.at(repo), clock_of(clock)
    wanted = list(dict.fromkeys(models or deployed_models(workspace)))
    span = _Span(start=start, end=end, first=first, last=last, every=every)
    secret = None if pseudonym_key is None else read_pseudonyms(pseudonym_key)
    work = Work(tuple(job or ALL_JOBS), span.windows(workspace, wanted), again=again, pseudonyms=secret)
    with _bar() as progress:
        runs = monitor_models(workspace, wanted, work, clock=opened, progress=progress)
    if as_json:
        typer.echo(json.dumps(_document(workspace, runs), indent=2))
    else:
        _print(workspace, runs)
    if any(run.problems for run in runs):
        raise typer.Exit(_ERROR)
    if any(run.verdict is not None and run.verdict.action.alarms for run in runs):
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class _Span:
    """What was said of when."""

    start: str | None
    end: str | None
    first: str | None
    last: str | None
    every: str | None

    def windows(self, workspace: Workspace, models: list[str]) -> list[Window] | None:
        """Cut it into windows; None if nothing was said."""
        window = chosen_window(self.start, self.end)
        many = self.first or self.last or self.every
        if window is not None and many:
            raise typer.BadParameter("--start and --end name one window, --from and --to many; give one pair")
        if window is not None:
            return [window]
        if not many:
            return None
        # Models with windows of several lengths are cut alike: as the first one's, unless --every says how.
        usual = usual_length(workspace, models[0])
        return chosen_windows(self.first, self.last, self.every, usual=usual)


@contextmanager
def _bar() -> Iterator[Progress]:
    """Show on stderr which window is judged and how many are left, so that stdout stays the answer."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("look for what is due", total=None)

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield report


def _document(workspace: Workspace, runs: list[ModelRun]) -> dict[str, object]:
    return {
        "index": str(workspace.reports / INDEX),
        "models": [
            {
                "model": run.model,
                "verdict": None if run.verdict is None else run.verdict.model_dump(mode="json"),
                "windows": [_window(report) for report in run.reports],
                "problems": run.problems,
                "webhook": None if run.delivery is None else vars(run.delivery),
            }
            for run in runs
        ],
    }


def _window(report: WindowReport) -> dict[str, object]:
    return {
        **report.summary.model_dump(mode="json", exclude={"features"}),
        "drifted": [drift.column for drift in report.summary.drifted],
        "done": [job.value for job in report.done],
        "page": str(report.folder / PAGE),
    }


def _print(workspace: Workspace, runs: list[ModelRun]) -> None:
    console, problems = Console(), Console(stderr=True)
    for run in runs:
        if run.reports:
            console.print(_table(run))
        if run.verdict is not None:
            _print_verdict(console, run.verdict)
        if run.delivery is not None and not run.delivery.arrived:
            told = f"{run.model}: the webhook is told by the next run; now {run.delivery.problem}"
            problems.print(told, markup=False, highlight=False, soft_wrap=True)
        for problem in run.problems:
            problems.print(f"{run.model}: {problem}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Open {workspace.reports / INDEX}", soft_wrap=True)


def _print_verdict(console: Console, v: ModelVerdict) -> None:
    colour = _COLOURS[v.action]
    whose = f"owner {v.owner}, runbook {v.runbook}"
    console.print(
        f"{v.model}: [{colour}]{v.action.value}[/{colour}] since {v.since:%Y-%m-%d %H:%M} UTC; {whose}",
        soft_wrap=True,
    )
    for reason in v.reasons:
        console.print(f"  {reason}", markup=False, highlight=False, soft_wrap=True)


def _table(run: ModelRun) -> Table:
    new = sum(bool(report.done) for report in run.reports)
    title = f"{run.model}: {len(run.reports)} windows, {new} with something new"
    table = Table("window (UTC)", "says", "why", "predictions", "labels", "faults", "drifted", title=title)
    for report in run.reports[-_WINDOWS_SHOWN:]:
        s = report.summary
        colour = _COLOURS[Action(s.verdict.level.value)]
        table.add_row(
            f"{s.start:%Y-%m-%d %H:%M} to {s.end:%Y-%m-%d %H:%M}",
            f"[{colour}]{s.verdict.level.value}[/{colour}]",
            "\n".join(s.verdict.reasons),
            f"{s.rows:,}",
            f"{s.performance.labelled:,} of {s.performance.matured:,}",
            str(len(s.faults)),
            f"{len(s.drifted)} of {len(s.features)}",
        )
    return table
