"""What to make of a window: measuring is done elsewhere, deciding is done here.

How many features drifted never decides. On real flights the drifted share is largest when the model
is at its best and smallest when it is at its worst, so matured labels decide, drift explains, and
only while there are no labels does a drifted score ask for a look.
"""

from collections.abc import Iterator, Sequence

from knownat.contract.model_spec import METRICS
from monitoring.metrics import display_name
from monitoring.summary import (
    ColumnDrift,
    Fault,
    Level,
    MetricChange,
    Performance,
    PerformanceStatus,
    Span,
    Verdict,
)

_ORDER = (Level.OK, Level.WATCH, Level.ALERT)
_MIN_COVERAGE = 0.5
_FAULTS_NAMED = 3


def judge(
    *, faults: Sequence[Fault], score: ColumnDrift, performance: Performance, headline: MetricChange | None
) -> Verdict:
    """Decide how much a window asks of a reader; every reason for the level is named."""
    findings = [*_of_faults(faults), *_of_performance(performance, headline)]
    if performance.status is not PerformanceStatus.MEASURED and score.drifted:
        findings.append(
            (Level.WATCH, f"the scores drifted (PSI {score.psi:.2f}) and no label can say yet why")
        )
    level = max((level for level, _ in findings), key=_ORDER.index, default=Level.OK)
    if level is Level.OK:
        return Verdict(level=level, reasons=(_all_well(performance, headline),))
    worst_first = sorted(findings, key=lambda finding: _ORDER.index(finding[0]), reverse=True)
    return Verdict(level=level, reasons=tuple(reason for _, reason in worst_first))


def _of_faults(faults: Sequence[Fault]) -> Iterator[tuple[Level, str]]:
    for level in (Level.ALERT, Level.WATCH):
        found = [fault for fault in faults if fault.level is level]
        for fault in found[:_FAULTS_NAMED]:
            yield level, fault.message
        if len(found) > _FAULTS_NAMED:
            yield level, f"{len(found) - _FAULTS_NAMED} more faults of this kind are listed below"


def _of_performance(performance: Performance, headline: MetricChange | None) -> Iterator[tuple[Level, str]]:
    coverage = performance.coverage
    if coverage is not None and coverage < _MIN_COVERAGE:
        yield Level.WATCH, f"only {coverage:.0%} of the matured predictions have a label"
    if headline is None or headline.release is None or not headline.fell:
        return
    was, now = headline.release.value, headline.window
    shown = f"{now.value:.3g} ({now.low:.3g} to {now.high:.3g})"
    usual = "" if headline.usual is None else f", single windows {_span(headline.usual)}"
    text = f"{display_name(headline.metric)} is {shown}; the release had {was:.3g} in its test{usual}"
    if headline.surely:
        yield Level.ALERT, text
    else:
        yield Level.WATCH, f"{text}; the interval is too wide to be sure"


def _all_well(performance: Performance, headline: MetricChange | None) -> str:
    if performance.status is PerformanceStatus.MEASURED and headline is not None:
        near = "near enough to" if _below_usual(headline) else "within"
        promised = f"{near} what the release promised"
        if headline.usual is not None:
            promised += f": windows as long were {_span(headline.usual)} in its test"
        return f"{display_name(headline.metric)} {headline.window.value:.3g} is {promised}"
    if performance.status is PerformanceStatus.PENDING:
        return "no fault found; the labels have not matured yet"
    return "no fault found; performance could not be measured"


def _below_usual(headline: MetricChange) -> bool:
    """Whether the window is worse than windows as long usually were, though by less than is allowed."""
    value, usual = headline.window.value, headline.usual
    if usual is None:
        return False
    return value < usual.low if METRICS[headline.metric][0] == "higher" else value > usual.high


def _span(usual: Span) -> str:
    return f"from {usual.low:.3g} to {usual.high:.3g}"
