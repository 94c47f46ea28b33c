"""From a window of the prediction log to a judgement and the page that explains it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from knownat.clock import Clock, from_us
from knownat.contract.log_reader import read_predictions
from knownat.contract.pseudonyms import Pseudonyms
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, KnownatError
from monitoring import pages
from monitoring.catalogue import Catalogue
from monitoring.charting import draw_charts, draw_outcomes
from monitoring.files import alone_in, replace_text
from monitoring.incidents import Incident, read_incidents
from monitoring.jobs import Job, Marks, read_marks, write_marks
from monitoring.judgement import Told, profile_window, summarize
from monitoring.source import Evidence, read_evidence
from monitoring.summary import Level, Summary
from monitoring.versions import read_changes
from monitoring.window_files import (
    OUTCOMES,
    PAGE,
    REPORT,
    SKEW,
    SUMMARY,
    read_skew,
    read_summary,
    read_truth,
    write_truth,
)
from monitoring.windows import Window

_SKEW_ROWS = 2_000


@dataclass(frozen=True)
class WindowReport:
    """One judged window and the folder that holds its pages."""

    summary: Summary
    folder: Path
    done: tuple[Job, ...] = ()
    """The jobs that had something new to do."""
    problems: tuple[str, ...] = ()
    """Why a job could not be done; the others were."""

    @property
    def alert(self) -> bool:
        """Whether the window asks somebody to act."""
        return self.summary.verdict.level is Level.ALERT


def monitor_window(
    workspace: Workspace,
    model: str,
    *,
    start: datetime,
    end: datetime,
    clock: Clock,
    jobs: Collection[Job] = (Job.JUDGE, Job.CHARTS, Job.PAGES),
    again: bool = False,
    pseudonyms: Pseudonyms | None = None,
) -> WindowReport:
    """Judge what a model answered to the questions of [start, end), and write its report.

    Writes ``reports/<model>/<window>/``: ``summary.json``, ``skew.json``, ``page.html`` and Evidently's
    ``report.html`` and ``performance.html``. A job whose inputs are what they were is not done ``again``
    unless asked to; nor is a window from which rows were taken out of the log since. Two runs at once wait
    for each other. No fault of the data stops it. ``pseudonyms`` reveal keys that are logged as hashes.

    Raises
    ------
    ReleaseError
        If nothing is deployed, or the release cannot be read or was changed.
    LogError
        If a file of the log is damaged beyond its tail.
    ValueError
        If the window runs backwards or its ends carry no time zone.
    """
    window, now = Window(start, end), from_us(clock.now_us())
    folder = workspace.reports / model / window.folder
    with alone_in(workspace.reports / model):
        evidence = read_evidence(workspace, model, window)
        return _Run(workspace, evidence, window, folder, now, again, pseudonyms).do(jobs)


@dataclass
class _Run:
    """One window's jobs: each looks first whether what it reads has changed."""

    workspace: Workspace
    evidence: Evidence
    window: Window
    folder: Path
    now: datetime
    again: bool
    pseudonyms: Pseudonyms | None

    def __post_init__(self) -> None:
        self.marks = Marks.of(self.evidence, now=self.now)
        self.made_from = {} if self.again else read_marks(self.folder)
        kept = None if self.again else read_summary(self.folder)
        if kept is not None and kept.rows > self.evidence.predictions.num_rows:
            # Rows only leave a log when they are too old to be kept: what was judged of them stands.
            self.made_from = {job: self.marks.of_job(job) for job in Job}
        self.done: list[Job] = []
        self.problems: list[str] = []

    def do(self, jobs: Collection[Job]) -> WindowReport:
        # First, since a judgement says what part of a fall comes from values served otherwise than trained.
        if Job.SKEW in jobs and self._due(Job.SKEW):
            self._explain_skew()
        summary = self._judged()
        if Job.CHARTS in jobs and self._due(Job.CHARTS):
            profile = profile_window(self.evidence)
            draw_charts(self.evidence, profile, summary, self.folder / REPORT)
            draw_outcomes(self.evidence, summary, self.folder / OUTCOMES, now=self.now)
            self._finish(Job.CHARTS)
        if Job.PAGES in jobs:
            write_page(self.workspace, self.folder, summary)
        return WindowReport(summary, self.folder, tuple(self.done), tuple(self.problems))

    def _judged(self) -> Summary:
        """Judge, unless the same rows and labels were judged before; every other job needs it."""
        kept = None if self._due(Job.JUDGE) else read_summary(self.folder)
        if kept is not None:
            return kept
        told = Told(read_skew(self.folder), self._changes(), read_truth(self.folder))
        profile = profile_window(self.evidence)
        summary = summarize(self.evidence, profile, self.window, now=self.now, told=told)
        replace_text(self.folder / SUMMARY, summary.model_dump_json(indent=2))
        self._finish(Job.JUDGE)
        return summary

    def _changes(self) -> list[str]:
        """Tell what people marked and promoted in this window."""
        model, window = self.evidence.release.manifest.model, self.window
        marked = [each for each in _readable_incidents(self.workspace) if each.concerns(model)]
        promoted = [c for c in read_changes(self.workspace, model) if window.start <= c.at < window.end]
        return [
            *(incident.text.rstrip(".") for incident in marked if incident.touches(window)),
            *(f"version {c.version} became {c.role} at {c.at:%Y-%m-%d %H:%M}" for c in promoted),
        ]

    def _explain_skew(self) -> None:
        # Opening a repo imports Feast: only where it is asked for.
        from monitoring.explaining import explain_skew
        from monitoring.revealing import reveal_keys

        start, end, model = self.window.start, self.window.end, self.evidence.release.manifest.model
        predictions = read_predictions(self.workspace.predictions, model, start=start, end=end)
        truth: list[pa.Table] = []
        try:
            if predictions.num_rows:
                predictions = reveal_keys(self.workspace, model, predictions, self.pseudonyms)
            report = explain_skew(self.workspace, model, predictions, rows=_SKEW_ROWS, keep=truth.append)
        except KnownatError as error:
            self.problems.append(f"skew was not compared: {error}")
            return
        judged = self.evidence.release.manifest.version
        own = (table for table in truth if report.unexpected and table["version"][0].as_py() == judged)
        write_truth(self.folder, next(own, None))
        replace_text(self.folder / SKEW, report.model_dump_json(indent=1))
        self._finish(Job.SKEW)
        # What is known of values now is news to the judgement.
        self.made_from.pop(Job.JUDGE, None)

    def _due(self, job: Job) -> bool:
        return self.made_from.get(job) != self.marks.of_job(job)

    def _finish(self, job: Job) -> None:
        self.done.append(job)
        self.made_from[job] = self.marks.of_job(job)
        write_marks(self.folder, self.made_from)


def write_page(workspace: Workspace, folder: Path, summary: Summary) -> None:
    """Write a window's page from what lies in its folder."""
    found = pages.Found(
        charts=(folder / REPORT).is_file(),
        outcomes=(folder / OUTCOMES).is_file(),
        skew=read_skew(folder),
        catalogue=Catalogue.seen_from(workspace, folder),
    )
    replace_text(folder / PAGE, pages.page(summary, found))


def _readable_incidents(workspace: Workspace) -> list[Incident]:
    try:
        return read_incidents(workspace)
    except ConfigError:
        # The overview says what is wrong with the file; a window is judged all the same.
        return []
