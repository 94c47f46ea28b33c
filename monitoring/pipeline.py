"""From a window of the prediction log to a verdict and the pages that explain it."""

import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from knownat.clock import Clock, from_us
from knownat.contract.columns import as_numbers
from knownat.contract.profile import Profile
from knownat.contract.reference import SCORE, as_observed
from knownat.contract.release import MODEL
from knownat.contract.workspace import Workspace
from monitoring import pages
from monitoring.blame import explain_change
from monitoring.contest import judge_contest
from monitoring.drift import DriftRules, measure_drift
from monitoring.estimate import estimate_metrics
from monitoring.faults import Seen, find_faults
from monitoring.importance import gain_shares
from monitoring.performance import measure_performance, usual_metrics
from monitoring.source import Evidence, read_evidence
from monitoring.summary import ColumnDrift, Estimate, Level, Summary
from monitoring.surrogates import Stand, surrogate
from monitoring.verdict import judge
from monitoring.views import statuses
from monitoring.windows import Window

SUMMARY, PAGE, REPORT, INDEX = "summary.json", "page.html", "report.html", "index.html"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WindowReport:
    """One judged window and the folder that holds its pages."""

    summary: Summary
    folder: Path

    @property
    def alert(self) -> bool:
        """Whether somebody should act."""
        return self.summary.verdict.level is Level.ALERT


def monitor_window(
    workspace: Workspace, model: str, *, start: datetime, end: datetime, clock: Clock
) -> WindowReport:
    """Judge what a model answered to the questions of [start, end), and write its report.

    Writes ``reports/<model>/<window>/`` with ``page.html``, ``report.html`` and ``summary.json``, and
    ``reports/index.html``; judging a window again replaces its report. No fault of the data stops it.

    Raises
    ------
    ReleaseError
        If nothing is deployed, or the release cannot be read or was changed.
    LogError
        If a file of the log is damaged beyond its tail.
    ValueError
        If the window runs backwards or its ends carry no time zone.
    """
    window = Window(start, end)
    evidence = read_evidence(workspace, model, window)
    profile = profile_window(evidence)
    summary = summarize(evidence, profile, window, now=from_us(clock.now_us()))
    folder = workspace.reports / model / window.folder
    folder.mkdir(parents=True, exist_ok=True)
    charted = _draw(evidence, profile, summary, folder / REPORT)
    _replace(folder / PAGE, pages.page(summary, charted=charted))
    # The summary comes last: the index lists a window by it.
    _replace(folder / SUMMARY, summary.model_dump_json(indent=2))
    write_index(workspace.reports)
    return WindowReport(summary, folder)


def profile_window(evidence: Evidence) -> Profile:
    """Count what the window's predictions held into the buckets of the release that made them."""
    layout = evidence.reference.profile.layout
    return layout.count(as_observed(evidence.predictions, evidence.release.plan))


def summarize(evidence: Evidence, profile: Profile, window: Window, *, now: datetime) -> Summary:
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
    return summary.model_copy(update={"blame": explain_change(evidence, summary, now=now)})


def write_index(reports: Path) -> None:
    """Write the index from every summary there is; one that cannot be read is listed, not fatal."""
    entries, unreadable = [], []
    for path in reports.glob(f"*/*/{SUMMARY}"):
        try:
            summary = Summary.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            _logger.warning("%s cannot be read: %s", path, type(error).__name__)
            unreadable.append(path.relative_to(reports).as_posix())
            continue
        entries.append(pages.Entry(summary, path.with_name(PAGE).relative_to(reports).as_posix()))
    _replace(reports / INDEX, pages.index(entries, unreadable=unreadable))


def _estimates(evidence: Evidence, window: Window) -> tuple[Estimate, ...]:
    spec = evidence.release.manifest.spec
    if spec.task != "binary":
        return ()
    scores = as_numbers(SCORE.name, evidence.predictions[SCORE.name])
    return estimate_metrics(spec, scores, evidence.holdout, window)


def _drift(seen: Seen, name: str, rules: DriftRules, importance: float) -> ColumnDrift:
    return measure_drift(
        seen.reference.profile.columns[name],
        seen.profile.columns[name],
        rules,
        importance=importance,
        past=seen.past(name),
    )


def _draw(evidence: Evidence, profile: Profile, summary: Summary, path: Path) -> bool:
    measured = [d for d in (summary.score, *summary.features) if d.psi is not None]
    staged = _staged(path)
    if measured:
        # Read by Evidently when it is imported; it must never phone home.
        os.environ["DO_NOT_TRACK"] = "1"
        from monitoring.renderer import render_report

        sides = ((profile, evidence.predictions), (evidence.reference.profile, evidence.baseline))
        samples = [_stand_ins(evidence, side, rows, measured) for side, rows in sides]
        drawn = render_report(
            staged, window=samples[0], baseline=samples[1], measured=measured, when=summary.end
        )
        if drawn:
            staged.replace(path)
            return True
    _replace(path, pages.no_report(summary))
    return False


def _stand_ins(
    evidence: Evidence, profile: Profile, rows: pa.Table, measured: Sequence[ColumnDrift]
) -> dict[str, Stand]:
    reference = evidence.reference.profile.columns
    return {
        d.column: surrogate(
            d.column, profile.columns[d.column], rows[d.column], reference=reference[d.column]
        )
        for d in measured
    }


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = _staged(path)
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)
