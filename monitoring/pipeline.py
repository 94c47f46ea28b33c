"""From a window of the prediction log to a judgement and the page that explains it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from knownat.clock import Clock, from_us
from knownat.contract.columns import as_numbers
from knownat.contract.log_reader import read_predictions
from knownat.contract.profile import Profile
from knownat.contract.pseudonyms import Pseudonyms
from knownat.contract.reference import SCORE, as_observed
from knownat.contract.release import MODEL
from knownat.contract.report_files import TRAINING_VALUES
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, KnownatError
from monitoring import pages
from monitoring.blame import explain_change
from monitoring.catalogue import Catalogue
from monitoring.charting import draw_charts, draw_outcomes
from monitoring.contest import judge_contest
from monitoring.drift import DriftRules, measure_drift
from monitoring.estimate import estimate_metrics
from monitoring.faults import Seen, find_faults
from monitoring.files import alone_in, replace_text, staged_beside
from monitoring.importance import gain_shares
from monitoring.incidents import Incident, read_incidents
from monitoring.jobs import Job, Marks, read_marks, write_marks
from monitoring.performance import measure_performance, usual_metrics
from monitoring.skew_report import SkewReport
from monitoring.source import Evidence, read_evidence
from monitoring.summary import ColumnDrift, Estimate, Level, Summary
from monitoring.verdict import judge
from monitoring.versions import read_changes
from monitoring.views import statuses
from monitoring.window_files import (
    OUTCOMES,
    PAGE,
    REPORT,
    SKEW,
    SUMMARY,
    read_skew,
    read_summary,
    read_truth,
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
        self._keep_truth(truth if report.unexpected else [])
        replace_text(self.folder / SKEW, report.model_dump_json(indent=1))
        self._finish(Job.SKEW)
        # What is known of values now is news to the judgement.
        self.made_from.pop(Job.JUDGE, None)

    def _keep_truth(self, truth: Sequence[pa.Table]) -> None:
        """Keep what training would have seen of the judged version's rows, for the blame of a later look."""
        judged, file = self.evidence.release.manifest.version, self.folder / TRAINING_VALUES
        own = [table for table in truth if table["version"][0].as_py() == judged]
        if own:
            staged = staged_beside(file)
            pq.write_table(own[0].drop(["version"]), staged, compression="zstd")
            staged.replace(file)
        else:
            file.unlink(missing_ok=True)

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


def profile_window(evidence: Evidence) -> Profile:
    """Count what the window's predictions held into the buckets of the release that made them."""
    layout = evidence.reference.profile.layout
    return layout.count(as_observed(evidence.predictions, evidence.release.plan))


@dataclass(frozen=True)
class Told:
    """What is known of a window beside its log."""

    skew: SkewReport | None = None
    changes: Sequence[str] = ()
    """What was changed or happened, in words."""
    truth: pa.Table | None = None
    """Model columns as training would have seen them, by ``prediction_id``."""


def summarize(
    evidence: Evidence, profile: Profile, window: Window, *, now: datetime, told: Told | None = None
) -> Summary:
    """Measure everything about a window and judge it; nothing is written."""
    manifest, plan = evidence.release.manifest, evidence.release.plan
    spec, schema = manifest.spec, manifest.feature_schema
    seen = Seen(schema, plan, evidence.reference, profile, window, spec.monitoring)
    faults = find_faults(seen)
    rules = DriftRules.of(spec.monitoring, columns=len(schema.columns))
    shares = gain_shares(evidence.release.read_bytes(MODEL), columns=len(schema.columns))
    features = [_drift(seen, name, rules, share) for name, share in zip(schema.names, shares, strict=True)]
    score = _drift(seen, SCORE.name, DriftRules.of(spec.monitoring, columns=1), 0.0)
    performance = measure_performance(
        manifest,
        evidence.predictions,
        evidence.labels,
        now=now,
        usual=usual_metrics(spec, evidence.holdout, window),
    ).model_copy(
        update={
            "estimates": _estimates(evidence, window),
            "comparisons": tuple(judge_contest(spec, c, evidence.labels, now=now) for c in evidence.contests),
        }
    )
    headline = next((m for m in performance.metrics if m.metric == spec.metric), None)
    summary = Summary(
        model=spec.name,
        version=manifest.version,
        description=spec.description,
        owner=spec.owner,
        runbook=spec.runbook,
        task=spec.task,
        metric=spec.metric,
        start=window.start,
        end=window.end,
        judged_at=now,
        rows=evidence.predictions.num_rows,
        degraded=sum(evidence.predictions["degraded"].to_pylist()),
        other_rows=dict(evidence.other_rows),
        baseline_rows=evidence.reference.profile.rows,
        verdict=judge(faults=faults, score=score, performance=performance, headline=headline),
        faults=tuple(faults),
        score=score,
        features=tuple(sorted(features, key=lambda f: (-f.importance, f.column))),
        views=tuple(statuses(plan, evidence.reference.profile, profile)),
        performance=performance,
    )
    known = told or Told()
    blame = explain_change(
        evidence, summary, now=now, skew=known.skew, truth=known.truth, changes=known.changes
    )
    return summary.model_copy(update={"blame": blame})


def _estimates(evidence: Evidence, window: Window) -> tuple[Estimate, ...]:
    spec = evidence.release.manifest.spec
    if spec.task != "binary":
        return ()
    scores = as_numbers(SCORE.name, evidence.predictions[SCORE.name])
    before = () if evidence.before is None else (evidence.before,)
    return estimate_metrics(spec, scores, (evidence.holdout, *before), window)


def _drift(seen: Seen, name: str, rules: DriftRules, importance: float) -> ColumnDrift:
    return measure_drift(
        seen.reference.profile.columns[name],
        seen.profile.columns[name],
        rules,
        importance=importance,
        past=seen.past(name),
    )


def _readable_incidents(workspace: Workspace) -> list[Incident]:
    try:
        return read_incidents(workspace)
    except ConfigError:
        # The overview says what is wrong with the file; a window is judged all the same.
        return []
