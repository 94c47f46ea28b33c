"""A few buckets to judge by, made of a reference's many: each of its own counts falls into one.

Numbers fall into the reference's deciles, or by exact value where it has few; texts by name. Nulls
have a bucket of their own, and so has what the reference never held. The outer deciles have no end,
so one extreme value moves one row, not every edge.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knownat.contract.columns import as_numbers, as_texts
from knownat.contract.grid import Grid, NameGrid, NumberGrid
from knownat.contract.held import Counts, HeldNames, HeldNumbers, unseen_share
from knownat.contract.profile import ColumnProfile
from knownat.errors import SchemaMismatch

Places = npt.NDArray[np.int64]

NULL, NEW, OTHER = "no value", "never seen", "other"
_DECILES = np.arange(1, 10) / 10
_FEW_VALUES = 20
_MOST_NAMES = 20
_UNSEEN = 0.005
"""If more rows than these are likely to hold a value not met yet, values have no bucket each."""


@dataclass(frozen=True)
class Buckets:
    """What each bucket holds, in order, and which of them each of the grid's counts falls into."""

    grid: Grid
    labels: tuple[str, ...]
    """The last is :data:`NULL`; :data:`NEW` stands before it where there is one."""
    places: Places

    @classmethod
    def of(cls, reference: ColumnProfile) -> "Buckets":
        """Choose the buckets of a column by what a reference held of it."""
        held = reference.held
        if isinstance(held, HeldNames):
            return cls(held.grid, *_by_name(held.grid))
        return cls(held.grid, *(_by_value(held) if _few(held) else _by_decile(held)))

    def __len__(self) -> int:
        return len(self.labels)

    def collapse(self, column: ColumnProfile) -> Counts:
        """Count a column's rows by bucket; rows in which it was absent or mistyped are left out.

        Raises
        ------
        SchemaMismatch
            If the column was counted into another grid.
        """
        held = column.held
        if held.grid != self.grid:
            raise SchemaMismatch(f"Column '{held.grid.name}' was counted by the layout of another release.")
        counts = np.zeros(len(self), dtype=np.int64)
        np.add.at(counts, self.places[: len(held.counts)], held.counts)
        if isinstance(held, HeldNames):
            counts[self.places[-1]] += held.new
        else:
            counts[self.places[0]] += held.minus_infinite
            counts[self.places[-1]] += held.infinite
        counts[-1] += column.missing
        return counts

    def locate(self, values: pa.ChunkedArray) -> Places:
        """Tell which bucket each row falls into.

        Raises
        ------
        SchemaMismatch
            If the column holds values of another type.
        """
        if isinstance(self.grid, NumberGrid):
            numbers = as_numbers(self.grid.name, values)
            found = np.searchsorted(self.grid.cuts, numbers, side="left")
            # A NaN sorts after everything.
            return np.where(
                np.isnan(numbers), len(self) - 1, self.places[np.minimum(found, self.grid.buckets - 1)]
            )
        encoded = as_texts(self.grid.name, values).dictionary_encode()
        known = self.grid.place
        names = [known.get(name, len(known)) for name in encoded.dictionary.to_pylist()]
        # A null is encoded as no name; it is placed behind them all.
        placed = np.append(self.places[np.array(names, dtype=np.int64)], len(self) - 1)
        found = encoded.indices.fill_null(len(names)).to_numpy()
        return np.asarray(placed[found], dtype=np.int64)


def _few(held: HeldNumbers) -> bool:
    used = np.flatnonzero(held.counts)
    if len(used) > _FEW_VALUES or unseen_share(held) > _UNSEEN:
        return False
    return all(_is_value(held.grid, int(at)) for at in used)


def _is_value(grid: NumberGrid, at: int) -> bool:
    """Whether a bucket of the grid holds one value only."""
    edges = grid.cuts
    return bool(0 < at < len(edges) and np.nextafter(edges[at - 1], np.inf) >= edges[at])


def _by_value(held: HeldNumbers) -> tuple[tuple[str, ...], Places]:
    used = np.flatnonzero(held.counts)
    places = np.full(held.grid.buckets, len(used))
    places[used] = np.arange(len(used))
    return (*(_short(held.grid.edges[at]) for at in used), NEW, NULL), places


def _by_decile(held: HeldNumbers) -> tuple[tuple[str, ...], Places]:
    edges, share = held.grid.edges, np.cumsum(held.counts) / held.finite
    # The edge that ends each decile; one that nothing is above would leave an empty bucket.
    ends = np.unique(np.searchsorted(share, _DECILES * (1 - 1e-12)))
    inner = ends[share[ends] < 1]
    ends = inner if len(inner) else ends[:1]
    # Where a decile or more lies on the least or the largest value, what is beyond it is another thing.
    under, over = _heavy(held, 1), _heavy(held, len(edges) - 1)
    ends = np.unique(np.r_[ends, [0] * under, [len(edges) - 1] * over]).astype(np.int64)
    shown = [_short(edges[min(at, len(edges) - 1)]) for at in ends]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(shown)]
    # Below the least value, whose own bucket begins just under it.
    first = f"under {_short(edges[1])}" if under else f"up to {shown[0]}"
    if under and between:
        between[0] = f"up to {shown[1]}"
    places = np.searchsorted(ends, np.arange(held.grid.buckets), side="left")
    return (first, *between, f"over {shown[-1]}", NULL), places


def _heavy(held: HeldNumbers, at: int) -> bool:
    return _is_value(held.grid, at) and bool(held.counts[at] >= _DECILES[0] * held.finite)


def _by_name(grid: NameGrid) -> tuple[tuple[str, ...], Places]:
    shown = grid.names[:_MOST_NAMES]
    places = np.minimum(np.arange(grid.buckets + 1), len(shown))
    # Without all names of the reference, one that is not listed need not be new.
    places[-1] = len(shown) + 1 if grid.complete else len(shown)
    return (*shown, OTHER, NEW, NULL), places


def _short(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
