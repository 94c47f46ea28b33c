"""Line drawings in SVG: no script, no font, no request, readable on a light and on a dark page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 520.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 16.0, 30.0, 44.0
_TICKS = 5
# Told apart by people who do not tell red from green (Okabe and Ito).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")


@dataclass(frozen=True)
class Line:
    """One line of a drawing: its name, its points in order, and whether it is drawn dashed."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def draw_lines(
    lines: Sequence[Line],
    *,
    label: str,
    x_title: str,
    y_title: str,
    log_x: bool = False,
    y_range: tuple[float, float] | None = None,
) -> str:
    """Draw lines over one pair of axes; ``label`` says for whoever cannot see it what it shows.

    >>> draw_lines([Line("a", [(0, 0), (1, 1)])], label="rises", x_title="x", y_title="y")[:4]
    '<svg'
    """
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    across = _Scale.over(xs, _LEFT, WIDTH - _RIGHT, log=log_x)
    up = _Scale.over(y_range or ys, HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(across, up, x_title, y_title)]
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        at = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in line.points)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8"{dash} points="{at}"/>')
        parts.append(
            f'<text x="{_LEFT + 8 + 150 * (number % 3):.0f}" y="{14 + 13 * (number // 3)}" fill="{colour}">'
            f"{escape(line.name)}</text>"
        )
    told = escape(label, {'"': "&quot;"})
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" '
        f'viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" width="{WIDTH:.0f}" height="{HEIGHT:.0f}" '
        f'font-family="system-ui, sans-serif" font-size="11">{"".join(parts)}</svg>\n'
    )


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, log: bool = False) -> "_Scale":
        low, high = min(values), max(values)
        if low == high:
            low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
        return cls(low, high, start, end, log)

    def place(self, value: float) -> float:
        share = self._measure(value) - self._measure(self.low)
        return self.start + share / (self._measure(self.high) - self._measure(self.low)) * (
            self.end - self.start
        )

    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        step = (self.high - self.low) / (_TICKS - 1)
        return [self.low + step * number for number in range(_TICKS)]

    def _measure(self, value: float) -> float:
        return math.log10(value) if self.log else value


def _axes(across: _Scale, up: _Scale, x_title: str, y_title: str) -> list[str]:
    # Grey reads on white and on black alike.
    grey = 'stroke="#888" stroke-width="0.6"'
    parts = []
    for value in up.ticks():
        y = up.place(value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" {grey} opacity="0.4"/>'
        )
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#888">{value:.3g}</text>'
        )
    for value in across.ticks():
        x = across.place(value)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT - _BOTTOM}" y2="{HEIGHT - _BOTTOM + 4}" {grey}/>'
        )
        below = HEIGHT - _BOTTOM + 16
        parts.append(f'<text x="{x:.1f}" y="{below}" text-anchor="middle" fill="#888">{value:.3g}</text>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle" fill="#888">{escape(x_title)}</text>'
    )
    height = (_TOP + HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text transform="translate(14 {height:.0f}) rotate(-90)" text-anchor="middle" fill="#888">'
        f"{escape(y_title)}</text>"
    )
    return parts
