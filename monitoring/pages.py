"""The pages an analyst opens: one a window, and the index of all of them.

Each is a single file without script or request, so it reads the same from a disk, a share or a mail.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from monitoring.charts import draw_buckets, draw_trend
from monitoring.metrics import display_name
from monitoring.summary import ColumnDrift, Level, PerformanceStatus, Summary

_TEMPLATES = Path(__file__).parent / "templates"
_TREND_WINDOWS = 30


@dataclass(frozen=True)
class Entry:
    """One judged window, and where its page lies seen from the index."""

    summary: Summary
    href: str


@dataclass(frozen=True)
class _ModelRow:
    name: str
    newest: Summary
    windows: tuple[Entry, ...]
    trend: Markup
    has_release: bool


def page(summary: Summary, *, charted: bool) -> str:
    """Write the page of one window; ``charted`` says whether Evidently's report is beside it."""
    return _render(
        "page.html.jinja",
        s=summary,
        charted=charted,
        why_not=_why_not(summary),
        top_importance=max((feature.importance for feature in summary.features), default=0.0),
    )


def no_report(summary: Summary) -> str:
    """Write what stands in for Evidently's report where it has nothing to draw."""
    return _render("no_report.html.jinja", s=summary)


def index(entries: Iterable[Entry], *, unreadable: Iterable[str] = ()) -> str:
    """Write the index of all models and windows, newest first; the worst model comes first."""
    by_model: dict[str, list[Entry]] = {}
    for entry in entries:
        by_model.setdefault(entry.summary.model, []).append(entry)
    rows = [_model_row(name, found) for name, found in sorted(by_model.items())]
    severity = (Level.ALERT, Level.WATCH, Level.OK)
    rows.sort(key=lambda row: severity.index(row.newest.verdict.level))
    return _render("index.html.jinja", models=rows, unreadable=sorted(unreadable))


def _model_row(name: str, entries: list[Entry]) -> _ModelRow:
    windows = tuple(sorted(entries, key=lambda e: (e.summary.end, e.summary.start), reverse=True))
    newest = windows[0].summary
    recent = [entry.summary for entry in reversed(windows[:_TREND_WINDOWS])]
    points = [(s.headline.window.value if s.headline else None, s.verdict.level) for s in recent]
    released = [s.headline.release.value for s in recent if s.headline and s.headline.release]
    reference = released[-1] if released else None
    metric = display_name(newest.metric)
    known = [value for value, _ in points if value is not None]
    label = f"{metric} of {len(known)} windows, from {min(known):.3g} to {max(known):.3g}" if known else ""
    # One point is no trend.
    trend = draw_trend(points, reference=reference, label=label) if len(known) > 1 else Markup()
    return _ModelRow(name, newest, windows, trend, reference is not None)


def _why_not(summary: Summary) -> str:
    performance = summary.performance
    match performance.status:
        case PerformanceStatus.PENDING:
            return (
                f"labels are judged {performance.label_wait_hours} h after the question, and none is that old"
            )
        case PerformanceStatus.UNLABELLED:
            return f"none of {performance.matured:,} matured predictions has a label"
        case PerformanceStatus.TOO_FEW:
            return f"{performance.labelled:,} labels are too few"
        case PerformanceStatus.NOT_SUPPORTED:
            return f"one score a prediction is not enough for {summary.metric} of a {summary.task} model"
        case PerformanceStatus.MEASURED:
            return f"{display_name(summary.metric)} has no meaning on these labels"


def _buckets(drift: ColumnDrift) -> Markup:
    return draw_buckets(drift.buckets, label=f"Distribution of {drift.column}, this window and baseline")


def _render(name: str, **values: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    environment.globals["buckets"] = _buckets
    return environment.get_template(name).render(values)


def _number(value: float) -> str:
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{100 * share:.1f} %" if share not in {0, 1} else f"{100 * share:.0f} %"


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%-d %b %Y, %H:%M")


def _moment_after(when: datetime, before: datetime) -> str:
    same_year = when.astimezone(UTC).year == before.astimezone(UTC).year
    return when.astimezone(UTC).strftime("%-d %b, %H:%M" if same_year else "%-d %b %Y, %H:%M")


def _sentence(text: str) -> str:
    # A name of a column stays as it is spelt.
    first = text.split(" ", 1)[0]
    start = text if "_" in first or ":" in first else text[:1].upper() + text[1:]
    return start if start.endswith((".", "!", "?")) else f"{start}."


_FILTERS: Mapping[str, object] = {
    "number": _number,
    "percent": _percent,
    "fixed": lambda value: f"{value:.3f}",
    "moment": _moment,
    "moment_after": _moment_after,
    "day": lambda when: when.astimezone(UTC).strftime("%-d %b %Y"),
    "word": lambda level: {Level.OK: "OK", Level.WATCH: "Watch", Level.ALERT: "Alert"}[level],
    "metric": display_name,
    "sentence": _sentence,
    "breakable": lambda name: Markup("__<wbr>").join(name.split("__")),
}
