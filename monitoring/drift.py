"""How far a column's distribution moved: PSI over the baseline's buckets, against a stated threshold.

A threshold is the largest of the declared practical effect, what so few rows differ by from chance
alone, and what windows of that length usually differ by; below a declared number of rows nothing is
said.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from knownat.contract.columns import Numbers, as_numbers, is_category, null_share
from knownat.contract.model_spec import Monitoring
from knownat.contract.schema import Column
from monitoring.binning import Counts, Places, count_rows, fit_bins
from monitoring.summary import Bucket, ColumnDrift
from monitoring.usual import NO_PAST, PastWindows

_RAREST = 0.001
_USUAL = 0.99
_STEADY = 2.0
_FALSE_ALARMS = 0.01
"""Chance of one false alarm or more among all columns of a window, if rows were independent."""


@dataclass(frozen=True)
class DriftRules:
    """When a shift counts."""

    effect: float
    min_rows: int
    columns: int

    @classmethod
    def of(cls, monitoring: Monitoring, *, columns: int) -> "DriftRules":
        """Take the declared thresholds; ``columns`` are judged together."""
        return cls(effect=monitoring.psi_threshold, min_rows=monitoring.min_rows, columns=max(columns, 1))


def measure_drift(
    column: Column,
    baseline: pa.ChunkedArray,
    window: pa.ChunkedArray,
    rules: DriftRules,
    *,
    importance: float,
    past: PastWindows = NO_PAST,
) -> ColumnDrift:
    """Compare a column's window with its baseline; too few rows are a note, not a number.

    ``past`` are windows of the same length within the baseline.
    """
    bins = fit_bins(column, baseline)
    places = bins.place(baseline)
    before, now = np.bincount(places, minlength=len(bins.labels)), count_rows(bins, window)
    note = _too_few(before, now, rules)
    used = (before + now) > 0
    threshold, score = rules.effect, None
    if not note:
        usual = usual_shift(past, places, before)
        threshold = max(rules.effect, noise_floor(before, now, columns=rules.columns), usual)
        score = psi(before, now)
    shares = [counts / counts.sum() if counts.sum() else counts * 0.0 for counts in (before, now)]
    return ColumnDrift(
        column=column.name,
        kind="category" if is_category(column) else "numeric",
        importance=importance,
        psi=score,
        threshold=threshold,
        drifted=score is not None and score > threshold,
        note=note,
        nulls_baseline=null_share(column, baseline),
        nulls_window=null_share(column, window),
        mean_baseline=_mean(column, baseline),
        mean_window=_mean(column, window),
        buckets=tuple(
            Bucket(label=label, baseline=float(old), window=float(new))
            for label, old, new, keep in zip(bins.labels, *shares, used, strict=True)
            if keep
        ),
    )


def unmeasured(column: Column, rules: DriftRules, *, importance: float, note: str) -> ColumnDrift:
    """Stand for a column that could not be compared, and say why."""
    return ColumnDrift(
        column=column.name,
        kind="category" if is_category(column) else "numeric",
        importance=importance,
        psi=None,
        threshold=rules.effect,
        drifted=False,
        note=note,
        nulls_baseline=0.0,
        nulls_window=None,
    )


def psi(before: Counts, now: Counts) -> float:
    """Population stability index, sum of (q - p) ln(q / p), over buckets that hold anything.

    One row in a thousand is added to each bucket, so that an empty one is rare, not impossible, and
    the same shares give the same PSI however many rows they are of.
    """
    used = (before + now) > 0
    old, new = (counts[used] / counts.sum() + _RAREST for counts in (before, now))
    p, q = old / old.sum(), new / new.sum()
    return float(np.sum((q - p) * np.log(q / p)))


def noise_floor(before: Counts, now: Counts, *, columns: int) -> float:
    """Return what PSI reaches by chance in one of so many columns, for samples of these sizes.

    Without a shift, PSI / (1/n + 1/m) is close to chi-squared with one degree less than buckets.
    """
    freedom = int(np.sum((before + now) > 0)) - 1
    if freedom < 1:
        return 0.0
    spread = 1 / float(before.sum()) + 1 / float(now.sum())
    return _chi_squared_quantile(1 - _FALSE_ALARMS / columns, freedom) * spread


def usual_shift(past: PastWindows, places: Places, before: Counts) -> float:
    """Return the PSI that 99 of 100 past windows stayed below; 0 if they do not differ, or are none.

    Each is known by a sample of n rows, which adds about (buckets - 1) / n by chance. Where the
    middle one shows little more than that, the column is steady and any shift of it is news.
    """
    if not len(past):
        return 0.0
    shifts = [psi(before, np.bincount(places[rows], minlength=len(before))) for rows in past]
    chance = (np.sum(before > 0) - 1) * float(np.mean([1 / len(rows) for rows in past]))
    return float(np.quantile(shifts, _USUAL)) if np.median(shifts) > _STEADY * chance else 0.0


def _chi_squared_quantile(probability: float, freedom: int) -> float:
    # Wilson and Hilferty (1931): the cube root of chi-squared / freedom is nearly normal.
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + NormalDist().inv_cdf(probability) * spread**0.5) ** 3)


def _too_few(before: Counts, now: Counts, rules: DriftRules) -> str:
    fewest = min(int(before.sum()), int(now.sum()))
    return (
        f"{fewest} rows are too few to compare; {rules.min_rows} are needed"
        if fewest < rules.min_rows
        else ""
    )


def _mean(column: Column, values: pa.ChunkedArray) -> float | None:
    if is_category(column):
        return None
    finite = _finite(as_numbers(column.name, values))
    return float(finite.mean()) if len(finite) else None


def _finite(numbers: Numbers) -> Numbers:
    return numbers[np.isfinite(numbers)]
