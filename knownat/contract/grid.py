"""The buckets of a column, fixed once by the rows a model was trained on.

Whatever is counted into the same buckets adds up exactly: hours to days, files to a month, shards to
a whole. Numbers fall between reference quantiles, denser towards the ends, or by exact value where
the reference has few; texts fall by name.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.columns import Numbers

FEW_VALUES = 64
MOST_NAMES = 10_000
_ENDS = (0.0001, 0.0003, 0.001, 0.0025, 0.005)
_LEVELS = np.array([*_ENDS, *(k / 100 for k in range(1, 100)), *(1 - end for end in reversed(_ENDS))])
_HEAVY = 0.005
"""A value that more than this share of rows has gets a bucket of its own."""
_WIDE, _PIECES = 0.25, 16
_LOWEST = float(np.finfo(np.float64).min)


@dataclass(frozen=True)
class NumberGrid:
    """Edges of a number column: bucket ``i`` holds ``edges[i - 1] < x <= edges[i]``.

    The first bucket is below everything the reference held, the last above it.
    """

    name: str
    edges: tuple[float, ...]
    scale: float
    """The reference's standard deviation, by which distances are divided; 0 for a constant."""

    @cached_property
    def cuts(self) -> Numbers:
        """The edges as an array."""
        return np.array(self.edges)

    @property
    def buckets(self) -> int:
        """How many buckets there are, those below and above included."""
        return len(self.edges) + 1

    @classmethod
    def fit(cls, name: str, ordered: Numbers) -> "NumberGrid":
        """Choose the edges from the reference's finite values in ascending order."""
        if not len(ordered):
            return cls(name, _around([0.0]), 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            spread = float(np.std(ordered))
        scale = spread if np.isfinite(spread) else 0.0
        changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        if len(changes) < FEW_VALUES:
            return cls(name, _around(ordered[np.r_[0, changes]].tolist()), scale)
        return cls(name, _by_rank(ordered, scale), scale)


@dataclass(frozen=True)
class NameGrid:
    """The names a text column is counted by, the reference's commonest first."""

    name: str
    names: tuple[str, ...]
    complete: bool = True
    """Whether these are all the names the reference held; if not, another name need not be new."""

    @cached_property
    def place(self) -> dict[str, int]:
        """Where each name is among ``names``."""
        return {name: position for position, name in enumerate(self.names)}

    @property
    def buckets(self) -> int:
        """How many known names there are."""
        return len(self.names)

    @classmethod
    def fit(cls, name: str, texts: pa.Array) -> "NameGrid":
        """Choose the names from the reference's texts."""
        counted = pc.value_counts(texts.drop_null())
        pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
        by_count = [text for text, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))]
        return cls(name, tuple(by_count[:MOST_NAMES]), complete=len(by_count) <= MOST_NAMES)


Grid = NumberGrid | NameGrid


def _around(values: Iterable[float]) -> tuple[float, ...]:
    """Give each value a bucket of its own, and each gap between two of them one."""
    pairs = ((max(math.nextafter(value, -math.inf), _LOWEST), value + 0.0) for value in values)
    return tuple(dict.fromkeys(itertools.chain.from_iterable(pairs)))


def _by_rank(ordered: Numbers, scale: float) -> tuple[float, ...]:
    rows = len(ordered)
    ranks = np.maximum(np.ceil(_LEVELS * rows).astype(np.int64) - 1, 0)
    # A value with that many rows is met at least twice.
    met = ordered[:: max(int(_HEAVY * rows / 2), 1)]
    often = np.unique(met[1:][met[1:] == met[:-1]])
    lengths = np.searchsorted(ordered, often, side="right") - np.searchsorted(ordered, often, side="left")
    alone = _around([ordered[0], *often[lengths > _HEAVY * rows].tolist()])
    edges = np.unique(np.r_[alone, ordered[ranks], ordered[-1]])
    return tuple(np.unique(np.r_[edges, _within_wide_gaps(edges, scale)]).tolist())


def _within_wide_gaps(edges: Numbers, scale: float) -> Numbers:
    """Cut gaps that are wide beside the scale: few rows fall there now, but some day many may."""
    with np.errstate(over="ignore"):
        gaps = np.diff(edges)
    wide = np.flatnonzero(np.isfinite(gaps) & (gaps > scale * _WIDE) & (scale > 0))
    pieces = [np.linspace(edges[at], edges[at + 1], _PIECES, endpoint=False)[1:] for at in wide]
    return np.concatenate([np.array([]), *pieces])
