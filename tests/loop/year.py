"""What monitoring says of each window of a long log: measured once, for a test and for a page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from knownat.contract.workspace import Workspace
from monitoring.judgement import profile_window, summarize
from monitoring.source import read_evidence
from monitoring.summary import MetricChange, Summary
from monitoring.windows import Window


@dataclass(frozen=True)
class Told:
    """One window's summary, with the numbers that a table shows."""

    summary: Summary

    def metric(self, name: str) -> MetricChange:
        return next(m for m in self.summary.performance.metrics if m.metric == name)

    @property
    def auc(self) -> float:
        return self.metric("auc").window.value

    @property
    def log_loss(self) -> float:
        return self.metric("log_loss").window.value

    @property
    def drifted(self) -> list[str]:
        return [drift.column for drift in self.summary.drifted]


def tell(workspace: Workspace, model: str, windows: Iterator[Window]) -> Iterator[Told]:
    """Judge windows one after the other, each when its labels have matured."""
    for window in windows:
        evidence = read_evidence(workspace, model, window)
        now = window.end + timedelta(hours=evidence.release.manifest.spec.monitoring.label_wait_hours)
        yield Told(summarize(evidence, profile_window(evidence), window, now=now))


def months(first: datetime, until: datetime) -> Iterator[Window]:
    """Cut calendar months, each beginning at the first one's own hour."""
    start = first
    # An hour that a change of clocks moved is no month.
    while start + timedelta(days=1) < until:
        following = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield Window(start, following)
        start = following


def weeks(first: datetime, until: datetime) -> Iterator[Window]:
    """Cut whole weeks; what is left over at the end is none."""
    start = first
    while start + timedelta(days=7) <= until:
        yield Window(start, start + timedelta(days=7))
        start += timedelta(days=7)
