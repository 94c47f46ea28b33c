"""Buckets fixed by the baseline, into which any window of the same column is counted.

Numbers fall into the baseline's deciles, or by exact value where it has few; texts by name. Nulls
have a bucket of their own, and so has what the baseline never held. The outer buckets have no end,
so one extreme value moves one row, not every edge.
"""

import itertools
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knownat.contract.columns import Numbers, as_numbers, as_texts, is_category
from knownat.contract.schema import Column

Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]

_DECILES = np.arange(1, 10) / 10
_FEW_VALUES = 20
_MOST_NAMES = 20
_NULL, _NEW, _OTHER = "no value", "never seen", "other"


class Bins(Protocol):
    """Buckets of one column; ``place`` gives positions among ``labels``."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bucket holds, in order."""
        ...

    def place(self, values: pa.ChunkedArray) -> Places:
        """Tell which bucket each row falls into."""
        ...


def fit_bins(column: Column, baseline: pa.ChunkedArray) -> Bins:
    """Choose the buckets of a column from its baseline."""
    if is_category(column):
        return _NameBins.fit(column.name, as_texts(column.name, baseline))
    numbers = as_numbers(column.name, baseline)
    known = numbers[~np.isnan(numbers)]
    distinct = np.unique(known)
    if len(distinct) <= _FEW_VALUES:
        return _ValueBins(column.name, distinct)
    return _QuantileBins.fit(column.name, known)


class _QuantileBins:
    def __init__(self, name: str, edges: Numbers) -> None:
        self._name, self._edges = name, edges
        shown = [_short(edge) for edge in edges]
        between = [f"{low} to {high}" for low, high in itertools.pairwise(shown)]
        self.labels = (f"up to {shown[0]}", *between, f"over {shown[-1]}", _NULL)

    @classmethod
    def fit(cls, name: str, known: Numbers) -> "_QuantileBins":
        edges = np.unique(np.quantile(known, _DECILES, method="inverted_cdf"))
        # An edge at the maximum would leave nothing above it.
        inner = edges[edges < known.max()]
        return cls(name, inner if len(inner) else edges[:1])

    def place(self, values: pa.ChunkedArray) -> Places:
        """Place numbers up to each edge, those above the last, and nulls."""
        numbers = as_numbers(self._name, values)
        places = np.searchsorted(self._edges, numbers, side="left")
        return np.where(np.isnan(numbers), len(self._edges) + 1, places)


class _ValueBins:
    def __init__(self, name: str, known: Numbers) -> None:
        self._name, self._known = name, known
        self.labels = (*(_short(value) for value in known), _NEW, _NULL)

    def place(self, values: pa.ChunkedArray) -> Places:
        """Place each value the baseline had, those it never had, and nulls."""
        numbers = as_numbers(self._name, values)
        new, null = len(self._known), len(self._known) + 1
        places = np.where(np.isin(numbers, self._known), np.searchsorted(self._known, numbers), new)
        return np.where(np.isnan(numbers), null, places)


@dataclass(frozen=True)
class _NameBins:
    name: str
    shown: tuple[str, ...]
    others: frozenset[str]
    labels: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, texts: pa.Array) -> "_NameBins":
        counted = [(pair["values"], pair["counts"]) for pair in texts.drop_null().value_counts().to_pylist()]
        by_count = [text for text, _ in sorted(counted, key=lambda pair: (-pair[1], pair[0]))]
        shown, others = tuple(by_count[:_MOST_NAMES]), frozenset(by_count[_MOST_NAMES:])
        return cls(name, shown, others, (*shown, _OTHER, _NEW, _NULL))

    def place(self, values: pa.ChunkedArray) -> Places:
        """Place the commonest names, the other known ones, those never seen, and nulls."""
        encoded = as_texts(self.name, values).dictionary_encode()
        other = len(self.shown)
        place = {name: position for position, name in enumerate(self.shown)}
        place |= dict.fromkeys(self.others, other)
        # A null is encoded as no name; it is placed behind them all.
        names = [place.get(name, other + 1) for name in encoded.dictionary.to_pylist()] + [other + 2]
        codes = encoded.indices.fill_null(len(names) - 1).to_numpy()
        placed: Places = np.array(names, dtype=np.int64)[codes]
        return placed


def count_rows(bins: Bins, values: pa.ChunkedArray) -> Counts:
    """Count the rows in each bucket."""
    return np.bincount(bins.place(values), minlength=len(bins.labels)).astype(np.int64)


def new_share(bins: Bins, counts: Counts) -> float:
    """Share of rows in the bucket of what the baseline never held; 0 where there is no such bucket."""
    if _NEW not in bins.labels or not counts.sum():
        return 0.0
    return float(counts[len(bins.labels) - 2] / counts.sum())


def _short(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
