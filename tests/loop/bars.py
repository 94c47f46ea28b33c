"""Lying bars with intervals, in SVG: no script, no font, no request, readable on light and on dark."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT, _STEP, _BAR, _TOP = 560.0, 110.0, 60.0, 26.0, 14.0, 8.0
_PLAIN, _MARKED = "#8aa9c0", "#0072b2"


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its value and the interval drawn over it."""

    name: str
    value: float
    low: float
    high: float


def draw_bars(
    bars: Sequence[Bar], *, label: str, x_range: tuple[float, float], marked: Collection[str] = ()
) -> str:
    """Draw a bar a row, from the start of the range on; those named in ``marked`` stand out.

    ``label`` says for whoever cannot see it what it shows.

    >>> draw_bars([Bar("a", 0.7, 0.6, 0.8)], label="one bar", x_range=(0.5, 1.0))[:4]
    '<svg'
    """
    low, high = x_range

    def place(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    grey = 'fill="#888"'
    parts = []
    for row, bar in enumerate(bars):
        y = _TOP + row * _STEP
        middle, end = y + _BAR / 2, place(bar.value)
        sure = f'x1="{place(bar.low):.1f}" x2="{place(bar.high):.1f}" y1="{middle:.1f}" y2="{middle:.1f}"'
        colour, text = _MARKED if bar.name in marked else _PLAIN, f"{middle + 4:.1f}"
        parts += [
            f'<text x="{_LEFT - 8}" y="{text}" text-anchor="end" {grey}>{escape(bar.name)}</text>',
            f'<rect x="{_LEFT}" y="{y:.1f}" width="{end - _LEFT:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<line {sure} stroke="#d55e00" stroke-width="1.6"/>',
            f'<text x="{place(bar.high) + 6:.1f}" y="{text}" {grey}>{bar.value:.3f}</text>',
        ]
    bottom = _TOP + len(bars) * _STEP
    for tick in range(6):
        value = low + (high - low) * tick / 5
        at = f'x="{place(value):.1f}" y="{bottom + 12}"'
        parts.append(f'<text {at} text-anchor="middle" {grey}>{value:.2g}</text>')
    told = escape(label, {'"': "&quot;"})
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" '
        f'viewBox="0 0 {_WIDTH:.0f} {bottom + 20:.0f}" width="{_WIDTH:.0f}" height="{bottom + 20:.0f}" '
        f'font-family="system-ui, sans-serif" font-size="11">{"".join(parts)}</svg>\n'
    )
