"""How a feature's values are spread: a few bars, from a table's rows or from a release's profile."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from knownat.contract.held import HeldNames, HeldNumbers, Segments
from knownat.contract.profile import ColumnProfile, Layout
from knownat.contract.schema import Column
from knownat.errors import SchemaMismatch

_BINS, _FEW = 16, 12
_MOST_NAMES = 12
_TAIL = 0.01
OTHER = "other"


@dataclass(frozen=True)
class Bar:
    """One bar of a distribution: what it holds and its share of the values."""

    label: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a feature held: the share of rows without a value, and how the others are spread."""

    rows: int
    null_share: float
    bars: tuple[Bar, ...]


def describe(values: pl.Series, *, rows: int, nulls: int) -> Held:
    """Describe what a feature held: ``values`` is a sample of its ``rows``."""
    column = pa.chunked_array([values.to_arrow(compat_level=pl.CompatLevel.oldest())])
    return Held(rows=rows, null_share=nulls / rows if rows else 0.0, bars=_bars(values.name, column))


def describe_profile(profile: ColumnProfile) -> Held:
    """Describe what a profiled column held."""
    rows = profile.values + profile.missing
    return Held(rows=rows, null_share=profile.missing / rows if rows else 0.0, bars=tuple(_bars_of(profile)))


def _bars(name: str, column: pa.ChunkedArray) -> tuple[Bar, ...]:
    kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string(kind):
        column, declared = column.cast(pa.string()), Column(name=name, dtype="category", categories=())
    elif pa.types.is_boolean(kind):
        declared = Column(name=name, dtype="bool")
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        # A picture may round what a table may not.
        column, declared = column.cast(pa.float64(), safe=False), Column(name=name, dtype="float64")
    else:
        return ()  # lists and the like have no picture
    try:
        counted = Layout.fit(pa.table({name: column}), [declared]).count(pa.table({name: column}))
        return tuple(_bars_of(counted.columns[name]))
    except SchemaMismatch:
        return ()


def _bars_of(profile: ColumnProfile) -> Iterator[Bar]:
    held = profile.held
    if isinstance(held, HeldNames):
        yield from _of_names(held)
    elif held.finite:
        yield from _of_values(held) if _few(held) else _of_numbers(held)


def _few(held: HeldNumbers) -> bool:
    """Whether the grid gives each of a few values a bucket of its own, and nothing lies between them."""
    return len(held.grid.edges) <= 2 * _FEW and not held.counts[::2].any()


def _of_values(held: HeldNumbers) -> Iterator[Bar]:
    for value, rows in zip(held.grid.edges[1::2], held.counts[1::2].tolist(), strict=True):
        if rows:
            yield Bar(_number(value), rows / held.finite)


def _of_names(held: HeldNames) -> Iterator[Bar]:
    total = int(held.counts.sum()) + held.new
    top = held.top(_MOST_NAMES)
    yield from (Bar(name, rows / total) for name, rows in top)
    if rest := total - sum(rows for _, rows in top):
        yield Bar(OTHER, rest / total)


def _of_numbers(held: HeldNumbers) -> Iterator[Bar]:
    """Cut the range of all but the outermost hundredths into equal parts; the tails join the ends."""
    low, high = (float(value) for value in held.quantiles(np.array([_TAIL, 1 - _TAIL])))
    if not low < high:
        low, high = float(held.low or 0.0), float(held.high or 0.0)
    if not low < high:
        yield Bar(f"{low:.6g}", 1.0)
        return
    edges = np.linspace(low, high, _BINS + 1)
    parts = held.segments()
    below = np.array([_rows_up_to(parts, edge) for edge in edges])
    below[0], below[-1] = 0.0, float(parts.rows.sum())
    for at, rows in enumerate(np.diff(below)):
        left, right = _number(edges[at]), _number(edges[at + 1])
        label = f"up to {right}" if at == 0 else f"over {left}" if at == _BINS - 1 else f"{left} to {right}"
        yield Bar(label, float(rows / below[-1]))


def _rows_up_to(parts: Segments, edge: float) -> float:
    # A value by itself is a segment of one float's width: a share of it beyond all bounds is clipped.
    with np.errstate(over="ignore"):
        shares = np.clip((edge - parts.left) / (parts.right - parts.left), 0, 1)
    return float((parts.rows * shares).sum())


def _number(value: float) -> str:
    return f"{value:,.0f}" if 10_000 <= abs(value) < 10_000_000 else f"{value:.4g}"
