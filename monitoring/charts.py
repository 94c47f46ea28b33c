"""Small inline drawings, made of SVG and nothing else: no script, no font, no request."""

from collections.abc import Sequence

from markupsafe import Markup

from monitoring.summary import Bucket, Level

_TREND_WIDTH, _TREND_HEIGHT, _MARGIN = 220, 44, 5
_BARS_WIDTH, _GAP, _BARS_HEIGHT = 116, 2, 36

_SVG = Markup(
    '<svg class="{}" role="img" aria-label="{}" width="{}" height="{}" viewBox="-1 -1 {} {}">{}</svg>'
)
_RELEASE = Markup('<line class="release" x1="0" x2="{}" y1="{:.1f}" y2="{:.1f}"/>')
_LINE = Markup('<polyline points="{}"/>')
_POINT = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3.2"/>')
_BUCKET = Markup(
    "<g><title>{}: {:.1%}, baseline {:.1%}</title>"
    '<rect class="slot" x="{x:.1f}" y="0" width="{bar:.1f}" height="{height}"/>'
    '<rect x="{x:.1f}" y="{window:.1f}" width="{bar:.1f}" height="{tall:.1f}"/>'
    '<line x1="{x:.1f}" x2="{right:.1f}" y1="{baseline:.1f}" y2="{baseline:.1f}"/></g>'
)


def draw_trend(
    points: Sequence[tuple[float | None, Level]], *, reference: float | None, label: str
) -> Markup:
    """Draw values in order of time, coloured by verdict, over a dashed line at the release's value."""
    known = [value for value, _ in points if value is not None]
    if not known:
        return Markup()
    scale = [*known, *([] if reference is None else [reference])]
    low, high = min(scale), max(scale)
    step = (_TREND_WIDTH - 2 * _MARGIN) / max(len(points) - 1, 1)

    def height_of(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return _TREND_HEIGHT - _MARGIN - share * (_TREND_HEIGHT - 2 * _MARGIN)

    at = [
        (_MARGIN + position * step, height_of(value), level)
        for position, (value, level) in enumerate(points)
        if value is not None
    ]
    parts = [_LINE.format(" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in at))]
    parts += [_POINT.format(level.value, x, y) for x, y, level in at]
    if reference is not None:
        y = height_of(reference)
        parts.insert(0, _RELEASE.format(_TREND_WIDTH, y, y))
    return _svg("trend", _TREND_WIDTH, _TREND_HEIGHT, parts, label)


def draw_buckets(buckets: Sequence[Bucket], *, label: str) -> Markup:
    """Draw the window's share of each bucket as a bar and the baseline's as a line across it."""
    top = max((max(bucket.baseline, bucket.window) for bucket in buckets), default=0.0)
    if not top:
        return Markup()
    parts = []
    # As wide for twenty values as for two, so that the tables' columns line up.
    step = _BARS_WIDTH / len(buckets)
    for position, bucket in enumerate(buckets):
        tall = bucket.window / top * _BARS_HEIGHT
        parts.append(
            _BUCKET.format(
                bucket.label,
                bucket.window,
                bucket.baseline,
                x=position * step,
                right=position * step + step - _GAP,
                bar=step - _GAP,
                height=_BARS_HEIGHT,
                tall=tall,
                window=_BARS_HEIGHT - tall,
                baseline=_BARS_HEIGHT * (1 - bucket.baseline / top),
            )
        )
    return _svg("buckets", _BARS_WIDTH, _BARS_HEIGHT, parts, label)


def _svg(kind: str, width: int, height: int, parts: Sequence[Markup], label: str) -> Markup:
    return _SVG.format(kind, label, width, height, width + 2, height + 2, Markup().join(parts))
