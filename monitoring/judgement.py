"""Everything measured about one window, and what to make of it: values in, a summary out, nothing written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from knownat.contract.columns import as_numbers
from knownat.contract.profile import Profile
from knownat.contract.reference import SCORE, as_observed
from knownat.contract.release import MODEL
from monitoring.blame import explain_change
from monitoring.contest import judge_contest
from monitoring.drift import DriftRules, measure_drift
from monitoring.estimate import estimate_metrics
from monitoring.faults import Seen, find_faults
from monitoring.importance import gain_shares
from monitoring.performance import measure_performance, usual_metrics
from monitoring.skew_report import SkewReport
from monitoring.source import Evidence
from monitoring.summary import ColumnDrift, Estimate, Performance, Summary
from monitoring.verdict import judge
from monitoring.views import statuses
from monitoring.windows import Window


@dataclass(frozen=True)
class Told:
    """What is known of a window beside its log."""

    skew: SkewReport | None = None
    changes: Sequence[str] = ()
    """What was changed or happened, in words."""
    truth: pa.Table | None = None
    """Model columns as training would have seen them, by ``prediction_id``."""


def profile_window(evidence: Evidence) -> Profile:
    """Count what the window's predictions held into the buckets of the release that made them."""
    layout = evidence.reference.profile.layout
    return layout.count(as_observed(evidence.predictions, evidence.release.plan))


def summarize(
    evidence: Evidence, profile: Profile, window: Window, *, now: datetime, told: Told | None = None
) -> Summary:
    """Measure everything about a window and judge it."""
    manifest, plan = evidence.release.manifest, evidence.release.plan
    spec, known = manifest.spec, told or Told()
    seen = Seen(manifest.feature_schema, plan, evidence.reference, profile, window, spec.monitoring)
    faults = find_faults(seen)
    score = _drift(seen, SCORE.name, DriftRules.of(spec.monitoring, columns=1), 0.0)
    performance = _performance(evidence, window, now=now)
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
        features=_features(evidence, seen),
        views=tuple(statuses(plan, evidence.reference, profile)),
        performance=performance,
    )
    blame = explain_change(
        evidence, summary, now=now, skew=known.skew, truth=known.truth, changes=known.changes
    )
    return summary.model_copy(update={"blame": blame})


def _features(evidence: Evidence, seen: Seen) -> tuple[ColumnDrift, ...]:
    """Measure every model column, the most important first."""
    names = seen.schema.names
    rules = DriftRules.of(evidence.release.manifest.spec.monitoring, columns=len(names))
    shares = gain_shares(evidence.release.read_bytes(MODEL), columns=len(names))
    found = [_drift(seen, name, rules, share) for name, share in zip(names, shares, strict=True)]
    return tuple(sorted(found, key=lambda feature: (-feature.importance, feature.column)))


def _drift(seen: Seen, name: str, rules: DriftRules, importance: float) -> ColumnDrift:
    return measure_drift(
        seen.reference.profile.columns[name],
        seen.profile.columns[name],
        rules,
        importance=importance,
        past=seen.past(name),
    )


def _performance(evidence: Evidence, window: Window, *, now: datetime) -> Performance:
    manifest = evidence.release.manifest
    measured = measure_performance(
        manifest,
        evidence.predictions,
        evidence.labels,
        now=now,
        usual=usual_metrics(manifest.spec, evidence.holdout, window),
    )
    contests = (judge_contest(manifest.spec, c, evidence.labels, now=now) for c in evidence.contests)
    return measured.model_copy(
        update={"estimates": _estimates(evidence, window), "comparisons": tuple(contests)}
    )


def _estimates(evidence: Evidence, window: Window) -> tuple[Estimate, ...]:
    spec = evidence.release.manifest.spec
    if spec.task != "binary":
        return ()
    scores = as_numbers(SCORE.name, evidence.predictions[SCORE.name])
    before = () if evidence.before is None else (evidence.before,)
    return estimate_metrics(spec, scores, (evidence.holdout, *before), window)
