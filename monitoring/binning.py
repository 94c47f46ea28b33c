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

from knownat.contract.schema import Column
from monitoring.columns import Numbers, as_numbers, as_texts, is_category

Counts = npt.NDArray[np.int64]

_DECILES = np.arange(1, 10) / 10
_FEW_VALUES = 20
_MOST_NAMES = 20
_NULL, _NEW, _OTHER = "no value", "never seen", "other"


class Bins(Protocol):
    """Buckets of one column; ``labels`` and what ``count`` returns go together."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bucket holds, in order."""
        ...

    def count(self, values: pa.ChunkedArray) -> Counts:
        """Count the rows in each bucket."""
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

    def count(self, values: pa.ChunkedArray) -> Counts:
        """Count numbers up to each edge, those above the last, and nulls."""
        numbers = as_numbers(self._name, values)
        null = np.isnan(numbers)
        places = np.searchsorted(self._edges, numbers[~null], side="left")
        counts = np.bincount(places, minlength=len(self._edges) + 1)
        return np.append(counts, null.sum()).astype(np.int64)


class _ValueBins:
    def __init__(self, name: str, known: Numbers) -> None:
        self._name, self._known = name, known
        self.labels = (*(_short(value) for value in known), _NEW, _NULL)

    def count(self, values: pa.ChunkedArray) -> Counts:
        """Count each value the baseline had, those it never had, and nulls."""
        numbers = as_numbers(self._name, values)
        null = np.isnan(numbers)
        present = numbers[~null]
        seen = np.isin(present, self._known)
        counts = np.bincount(np.searchsorted(self._known, present[seen]), minlength=len(self._known))
        return np.concatenate([counts, [(~seen).sum(), null.sum()]]).astype(np.int64)


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

    def count(self, values: pa.ChunkedArray) -> Counts:
        """Count the commonest names, the other known ones, those never seen, and nulls."""
        texts = as_texts(self.name, values)
        place = {name: position for position, name in enumerate(self.shown)}
        counts = np.zeros(len(self.labels), dtype=np.int64)
        for pair in texts.drop_null().value_counts().to_pylist():
            text = pair["values"]
            fallback = len(self.shown) + (0 if text in self.others else 1)
            counts[place.get(text, fallback)] += pair["counts"]
        counts[-1] = texts.null_count
        return counts


def new_share(bins: Bins, counts: Counts) -> float:
    """Share of rows in the bucket of what the baseline never held; 0 where there is no such bucket."""
    if _NEW not in bins.labels or not counts.sum():
        return 0.0
    return float(counts[len(bins.labels) - 2] / counts.sum())


def _short(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
