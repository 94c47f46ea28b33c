"""A model's windows over time: performance, drift, faults, freshness and volume over one axis, as SVG.

No script: every window is a link with its numbers as a title, and what a drawing shows stands in a
table below it too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from knownat.contract.release import Interval
from monitoring.summary import Level, Span

# Numbers and titles stand on the right: a narrow screen shows the newest end first.
_WIDTH, _LEFT, _RIGHT = 1080, 6, 62
_TOP, _GAP, _AXIS = 34, 26, 22
_TALL, _SHORT = 132, 44
_HALF_A_TICK = 20

_SVG = Markup(
    '<svg class="timeline" role="group" aria-label="{}" width="{w}" height="{h}" viewBox="0 0 {w} {h}">'
    "{}</svg>"
)
_TEXT = Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>')
_LINE = Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>')
_RECT = Markup(
    '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
)
_CIRCLE = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"/>')
# Reached by pointer alone: by keyboard the table below has the same links, in the same order.
_LINK = Markup('<a href="{}" tabindex="-1" aria-label="{}">{}<title>{}</title></a>')


@dataclass(frozen=True)
class Point:
    """One window, as far as it is drawn."""

    start: datetime
    end: datetime
    href: str
    level: Level
    volume: int
    faults: int
    drifted: float
    """Share of the model's split gain that its drifted features carry."""
    age: float | None
    """Age of the oldest view's rows, in times of its usual age; None if no view has an age."""
    value: Interval | None = None
    estimate: Span | None = None

    @property
    def middle(self) -> datetime:
        """Where it is drawn."""
        return self.start + (self.end - self.start) / 2


@dataclass(frozen=True)
class Mark:
    """A moment or a span to stand behind the windows: a release, an incident."""

    kind: str
    at: datetime
    text: str
    until: datetime | None = None


@dataclass(frozen=True)
class _Panel:
    title: str
    top: float
    height: float
    low: float
    high: float
    show: Callable[[float], str]

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.top + self.height * (1 - min(max(share, 0.0), 1.0))


def draw_timeline(
    points: Sequence[Point], marks: Sequence[Mark], *, metric: str, release: float | None, label: str
) -> Markup:
    """Draw windows in order of time; empty with none."""
    if not points:
        return Markup()
    first, last = min(p.start for p in points), max(p.end for p in points)
    place = _Place(first, last)
    panels = _panels(points, metric, release)
    performance, drift, faults, age, volume = panels
    height = volume.top + volume.height + _AXIS
    inside = [mark for mark in marks if mark.at <= last and (mark.until or mark.at) >= first]
    parts = [
        *_frames(panels, place, height),
        *_marks(inside, place, height - _AXIS),
        *_performance(points, performance, place, release),
        *_bars(points, drift, place, lambda p: p.drifted, "drift"),
        *_bars(points, faults, place, lambda p: float(p.faults), "faults"),
        *_ages(points, age, place),
        *_bars(points, volume, place, lambda p: float(p.volume), "volume"),
    ]
    return _SVG.format(label, Markup().join(parts), w=_WIDTH, h=round(height))


@dataclass(frozen=True)
class _Place:
    first: datetime
    last: datetime

    def x(self, when: datetime) -> float:
        share = (when - self.first) / (self.last - self.first)
        return _LEFT + min(max(share, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)


def _panels(points: Sequence[Point], metric: str, release: float | None) -> tuple[_Panel, ...]:
    spans = [span for p in points for span in (p.value, p.estimate) if span is not None]
    known = [bound for span in spans for bound in (span.low, span.high)]
    known += [] if release is None else [release]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    most = float(max((p.volume for p in points), default=1)) or 1.0
    faults = float(max(p.faults for p in points)) or 1.0
    oldest = max((p.age for p in points if p.age is not None), default=1.0)
    laid_out = [
        (metric, _TALL, low, high, lambda v: f"{v:.3g}"),
        ("Drifted inputs, by importance", _SHORT, 0.0, 1.0, lambda v: f"{v:.0%}"),
        ("Faults in the data", _SHORT, 0.0, faults, lambda v: f"{v:.0f}"),
        ("Age of features, times the usual", _SHORT, 0.0, max(oldest, 2.0), lambda v: f"{v:.3g} x"),
        ("Predictions", _SHORT, 0.0, most, lambda v: f"{v:,.0f}"),
    ]
    panels, top = [], float(_TOP)
    for title, height, least, greatest, show in laid_out:
        panels.append(_Panel(title, top, height, least, greatest, show))
        top += height + _GAP
    return tuple(panels)


def _frames(panels: Sequence[_Panel], place: _Place, height: float) -> Iterator[Markup]:
    for when, text in _ticks(place.first, place.last):
        yield _LINE.format("grid", place.x(when), place.x(when), _TOP, height - _AXIS)
        # The middle of a text at the very edge would leave it cut off.
        if place.x(when) > _LEFT + _HALF_A_TICK:
            yield _TEXT.format("tick", place.x(when), height - 6, text)
    # After the lines, which would otherwise run through the titles.
    for panel in panels:
        yield _TEXT.format("title", _WIDTH - _RIGHT, panel.top - 8, panel.title)
        for value in (panel.low, panel.high):
            yield _LINE.format("grid", _LEFT, _WIDTH - _RIGHT, panel.y(value), panel.y(value))
            yield _TEXT.format("axis", _WIDTH - _RIGHT + 8, panel.y(value) + 4, panel.show(value))


def _marks(marks: Sequence[Mark], place: _Place, bottom: float) -> Iterator[Markup]:
    for mark in marks:
        left, right = place.x(mark.at), place.x(mark.until or mark.at)
        yield _RECT.format(
            mark.kind, left - 1, _TOP - 14, max(right - left, 2), bottom - _TOP + 14, mark.text
        )


def _performance(
    points: Sequence[Point], panel: _Panel, place: _Place, release: float | None
) -> Iterator[Markup]:
    if release is not None:
        yield _LINE.format("release-value", _LEFT, _WIDTH - _RIGHT, panel.y(release), panel.y(release))
    for point in points:
        x = place.x(point.middle)
        if point.estimate is not None:
            ends = sorted(panel.y(value) for value in (point.estimate.low, point.estimate.high))
            told = f"estimated without labels: {point.estimate.low:.3g} to {point.estimate.high:.3g}"
            yield _RECT.format("estimate", x - 3, ends[0], 6, max(ends[1] - ends[0], 1), told)
        if point.value is None:
            continue
        whisker = _LINE.format(
            f"interval {point.level.value}", x, x, panel.y(point.value.low), panel.y(point.value.high)
        )
        dot = _CIRCLE.format(point.level.value, x, panel.y(point.value.value))
        told = f"{_when(point)}: {point.value.value:.3g} ({point.value.low:.3g} to {point.value.high:.3g})"
        yield _LINK.format(point.href, told, whisker + dot, f"{told}, {point.level.value}")


def _bars(
    points: Sequence[Point], panel: _Panel, place: _Place, of: Callable[[Point], float], kind: str
) -> Iterator[Markup]:
    for point in points:
        value = of(point)
        left, right = place.x(point.start), place.x(point.end)
        y = panel.y(value)
        told = f"{_when(point)}: {panel.show(value)}"
        yield _RECT.format(kind, left + 0.5, y, max(right - left - 1, 1), panel.top + panel.height - y, told)


def _ages(points: Sequence[Point], panel: _Panel, place: _Place) -> Iterator[Markup]:
    yield _LINE.format("release-value", _LEFT, _WIDTH - _RIGHT, panel.y(1.0), panel.y(1.0))
    aged = [point for point in points if point.age is not None]
    yield from _bars(aged, panel, place, lambda p: p.age or 0.0, "age")


def _ticks(first: datetime, last: datetime) -> Iterator[tuple[datetime, str]]:
    """Name days, Mondays or firsts of a month, whichever are few enough to be read."""
    day = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    length = last - first
    while day <= last:
        if length <= timedelta(days=12):
            chosen = True
        elif length <= timedelta(days=84):
            chosen = day.weekday() == 0
        else:
            chosen = day.day == 1 and (length <= timedelta(days=500) or day.month == 1)
        if chosen and day >= first:
            yield day, f"{day:%-d %b}" if length <= timedelta(days=84) else f"{day:%b %Y}"
        day += timedelta(days=1)


def _when(point: Point) -> str:
    return f"{point.start.astimezone(UTC):%-d %b %Y} to {point.end.astimezone(UTC):%-d %b}"
