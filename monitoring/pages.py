"""The pages an analyst opens: one of all models, one a model, one a window.

Each is a single file without script or request, so it reads the same from a disk, a share or a mail.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from knownat.contract.verdict import Action, ModelVerdict
from monitoring.catalogue import Catalogue
from monitoring.charts import draw_buckets, draw_trend
from monitoring.estimate import FEWEST_WINDOWS
from monitoring.incidents import Incident
from monitoring.metrics import display_name
from monitoring.skew_report import EXPECTED, SkewReport
from monitoring.summary import ColumnDrift, PerformanceStatus, Summary
from monitoring.versions import Change, Version

_TEMPLATES = Path(__file__).parent / "templates"
_TREND_WINDOWS = 30
_WINDOWS_OPEN = 8


@dataclass(frozen=True)
class Found:
    """What lies beside a window's page."""

    charts: bool = False
    outcomes: bool = False
    skew: SkewReport | None = None
    catalogue: Catalogue | None = None
    """Where the features are described; None if nowhere."""


@dataclass(frozen=True)
class Entry:
    """One judged window, and where its page lies seen from its model's page."""

    summary: Summary
    href: str


@dataclass(frozen=True)
class ModelPage:
    """Everything that a model's page and its part of the overview show."""

    name: str
    verdict: ModelVerdict | None
    entries: tuple[Entry, ...]
    """Oldest first."""
    versions: tuple[Version, ...] = ()
    changes: tuple[Change, ...] = ()
    incidents: tuple[Incident, ...] = ()
    timeline: Markup | None = None
    problem: str = ""
    """Why there is no verdict."""
    untold: str = ""
    """Why its webhook could not be told of it; empty if none waits."""
    catalogue: Catalogue | None = None

    @property
    def newest(self) -> Summary | None:
        """The newest window."""
        return self.entries[-1].summary if self.entries else None

    @property
    def action(self) -> Action:
        """What is asked for; a model whose verdict cannot be had asks for a look."""
        return self.verdict.action if self.verdict is not None else Action.WATCH

    @property
    def trend(self) -> Markup:
        """Draw the metric over the newest windows; nothing for fewer than two."""
        recent = [entry.summary for entry in self.entries[-_TREND_WINDOWS:]]
        points = [(s.headline.window.value if s.headline else None, s.verdict.level) for s in recent]
        known = [value for value, _ in points if value is not None]
        if len(known) < 2:
            return Markup()
        metric = display_name(recent[-1].metric)
        label = f"{metric} of {len(known)} windows, from {min(known):.3g} to {max(known):.3g}"
        return draw_trend(points, reference=self.promised, label=label)

    @property
    def promised(self) -> float | None:
        """What the newest measured version had in its test."""
        released = [e.summary.headline.release for e in self.entries if e.summary.headline]
        return next((interval.value for interval in reversed(released) if interval is not None), None)


def page(summary: Summary, found: Found) -> str:
    """Write the page of one window."""
    return _render(
        "page.html.jinja",
        s=summary,
        found=found,
        expected=EXPECTED,
        why_not=_why_not(summary),
        fewest_windows=FEWEST_WINDOWS,
        top_importance=max((feature.importance for feature in summary.features), default=0.0),
    )


def model_page(model: ModelPage) -> str:
    """Write the page of one model: verdict, timeline, versions, incidents, windows."""
    newest_first = model.entries[::-1]
    return _render(
        "model.html.jinja",
        m=model,
        s=model.newest,
        newest=newest_first[:_WINDOWS_OPEN],
        earlier=newest_first[_WINDOWS_OPEN:],
        estimated=any(entry.summary.performance.estimates for entry in model.entries),
    )


def overview(
    models: Iterable[ModelPage],
    *,
    unreadable: Sequence[str] = (),
    problems: Sequence[str] = (),
    catalogue: Catalogue | None = None,
) -> str:
    """Write the page of all models, the one that asks for most first; what cannot be read is named."""
    ordered = sorted(models, key=lambda model: (_URGENCY.index(model.action), model.name))
    counts = {action: sum(model.action is action for model in ordered) for action in _URGENCY}
    return _render(
        "index.html.jinja",
        models=ordered,
        counts=counts,
        unreadable=sorted(unreadable),
        problems=problems,
        catalogue=catalogue,
    )


_URGENCY = (Action.ALERT, Action.RETRAIN, Action.WATCH, Action.OK)


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
    "word": lambda level: {"ok": "OK", "watch": "Watch", "alert": "Alert", "retrain": "Retrain"}[level.value],
    "is_link": lambda text: text.startswith(("https://", "http://")),
    "cause": lambda cause: cause.value.replace("_", " "),
    "metric": display_name,
    "sentence": _sentence,
    "breakable": lambda name: Markup("__<wbr>").join(name.split("__")),
}
