"""How far a column's distribution moved: PSI over the reference's buckets, against a stated threshold.

A threshold is the largest of the declared practical effect, what so few rows differ by from chance
alone, and what windows of that length usually differ by; below a declared number of rows nothing is
said. Beside it stand a distance in the column's own measure and the quantile that moved.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np

from knownat.contract.buckets import NEW, OTHER, Buckets
from knownat.contract.held import Counts, HeldNames, HeldNumbers, unseen_share
from knownat.contract.model_spec import Monitoring
from knownat.contract.profile import ColumnProfile
from monitoring.distances import jensen_shannon, psi, psi_of_each, wasserstein
from monitoring.summary import Bucket, ColumnDrift
from monitoring.units import unit_of
from monitoring.usual import NO_PAST, Past

_USUAL = 0.99
_STEADY = 2.0
_FALSE_ALARMS = 0.01
"""Chance of one false alarm or more among all columns of a window, if rows were independent."""
_SHOWN = (0.5, 0.9, 0.1)
_NOTICEABLE = 0.1


@dataclass(frozen=True)
class DriftRules:
    """When a shift counts."""

    effect: float
    min_rows: int
    columns: int

    @classmethod
    def of(cls, monitoring: Monitoring, *, columns: int) -> Self:
        """Take the declared thresholds; ``columns`` are judged together."""
        return cls(effect=monitoring.psi_threshold, min_rows=monitoring.min_rows, columns=max(columns, 1))


def measure_drift(
    reference: ColumnProfile,
    window: ColumnProfile,
    rules: DriftRules,
    *,
    importance: float,
    past: Past = NO_PAST,
) -> ColumnDrift:
    """Compare a column's window with its reference; too few rows are a note, not a number.

    ``past`` are windows of the same length within the reference.

    Raises
    ------
    SchemaMismatch
        If the window was counted into other buckets.
    """
    buckets = Buckets.of(reference)
    before, now = (
        buckets.collapse(reference),
        _expect_rare_names(reference, buckets, buckets.collapse(window)),
    )
    note = _unmeasurable(window) or _too_few(before, now, rules)
    threshold, score = rules.effect, None
    if not note:
        chance = noise_floor(before, now, columns=rules.columns)
        threshold = max(rules.effect, chance, usual_shift(before, now, past))
        score = psi(before, now)
    return ColumnDrift(
        column=reference.held.grid.name,
        kind="category" if isinstance(reference.held, HeldNames) else "numeric",
        importance=importance,
        psi=score,
        threshold=threshold,
        drifted=score is not None and score > threshold,
        note=note,
        distance=None if note else distance(reference, window),
        moved=describe_move(reference, window),
        nulls_baseline=_null_share(reference),
        nulls_window=None if note and not window.values else _null_share(window),
        buckets=_shown(buckets, before, now),
    )


def _shown(buckets: Buckets, before: Counts, now: Counts) -> tuple[Bucket, ...]:
    """Lay out the shares of both sides in every bucket that either has rows in."""
    shares = [counts / counts.sum() if counts.sum() else counts * 0.0 for counts in (before, now)]
    return tuple(
        Bucket(label=label, baseline=float(old), window=float(new))
        for label, old, new in zip(buckets.labels, *shares, strict=True)
        if old or new
    )


def distance(reference: ColumnProfile, window: ColumnProfile) -> float | None:
    """Return the Wasserstein distance in reference standard deviations, or Jensen-Shannon's of names."""
    before, now = reference.held, window.held
    if isinstance(before, HeldNumbers) and isinstance(now, HeldNumbers):
        return wasserstein(before, now)
    if isinstance(before, HeldNames) and isinstance(now, HeldNames):
        return jensen_shannon(before, now)
    return None


def describe_move(reference: ColumnProfile, window: ColumnProfile) -> str:
    """Say in a few words what moved most: a quantile of numbers, the share of a name; empty if nothing."""
    before, now = reference.held, window.held
    moved = ""
    if isinstance(before, HeldNumbers) and isinstance(now, HeldNumbers):
        moved = _quantile_move(before, now)
    elif isinstance(before, HeldNames) and isinstance(now, HeldNames):
        moved = _name_move(before, now)
    return moved or _null_move(_null_share(reference), _null_share(window))


def usual_shift(before: Counts, now: Counts, past: Past) -> float:
    """Return the PSI that 99 of 100 past windows stayed below; 0 if they do not differ, or are none.

    Where the middle one shows little more than the chance of its rows, the column is steady and any
    shift of it is news. A window of fewer rows than the past ones had is granted its own chance on top.
    """
    if not len(past):
        return 0.0
    freedom = int(np.sum(before > 0)) - 1
    shifts = psi_of_each(before, past.counts)
    chance = freedom * float(np.mean(1 / past.counts.sum(axis=1)))
    if np.median(shifts) <= _STEADY * chance:
        return 0.0
    return float(np.quantile(shifts, _USUAL)) + max(freedom / float(now.sum()) - chance, 0.0)


def noise_floor(before: Counts, now: Counts, *, columns: int) -> float:
    """Return what PSI reaches by chance in one of so many columns, for samples of these sizes.

    Without a shift, PSI / (1/n + 1/m) is close to chi-squared with one degree less than buckets.
    """
    freedom = int(np.sum((before + now) > 0)) - 1
    if freedom < 1:
        return 0.0
    spread = 1 / float(before.sum()) + 1 / float(now.sum())
    return _chi_squared_quantile(1 - _FALSE_ALARMS / columns, freedom) * spread


def _chi_squared_quantile(probability: float, freedom: int) -> float:
    # Wilson and Hilferty (1931): the cube root of chi-squared / freedom is nearly normal.
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + NormalDist().inv_cdf(probability) * spread**0.5) ** 3)


def _expect_rare_names(reference: ColumnProfile, buckets: Buckets, now: Counts) -> Counts:
    """Count new names as other ones, as far as the reference's rarest make new ones likely."""
    if not isinstance(reference.held, HeldNames) or NEW not in buckets.labels:
        return now
    new, other = buckets.labels.index(NEW), buckets.labels.index(OTHER)
    likely = unseen_share(reference.held) * float(now[:-1].sum())
    moved = min(int(now[new]), int(likely + 3 * likely**0.5))
    now = now.copy()
    now[new] -= moved
    now[other] += moved
    return now


def _unmeasurable(window: ColumnProfile) -> str:
    if window.mistyped:
        return f"{window.mistyped} rows hold {', '.join(sorted(window.types))}"
    return "the column is missing" if window.absent and not (window.values or window.missing) else ""


def _too_few(before: Counts, now: Counts, rules: DriftRules) -> str:
    fewest = min(int(before.sum()), int(now.sum()))
    return (
        f"{fewest} rows are too few to compare; {rules.min_rows} are needed"
        if fewest < rules.min_rows
        else ""
    )


def _null_share(column: ColumnProfile) -> float:
    rows = column.values + column.missing
    return column.missing / rows if rows else 0.0


def _null_move(before: float, now: float) -> str:
    return f"no value {before:.0%} → {now:.0%}" if abs(now - before) > _NOTICEABLE / 10 else ""


def _quantile_move(before: HeldNumbers, now: HeldNumbers) -> str:
    scale = before.grid.scale
    for share in _SHOWN:
        old, new = before.quantile(share), now.quantile(share)
        if old is not None and new is not None and abs(new - old) > _NOTICEABLE * scale:
            unit = unit_of(before.grid.name)
            return f"p{share * 100:.0f} {shown(old)} → {shown(new)}{' ' if unit else ''}{unit}"
    return ""


def _name_move(before: HeldNames, now: HeldNames) -> str:
    old, new = (
        {**dict(zip(h.grid.names, h.counts.tolist(), strict=True)), **h.new_names} for h in (before, now)
    )
    of_old, of_new = sum(old.values()), sum(new.values())
    if not of_old or not of_new:
        return ""
    moves = {name: new.get(name, 0) / of_new - old.get(name, 0) / of_old for name in (*old, *new)}
    name = max(moves, key=lambda name: (abs(moves[name]), name))
    if abs(moves[name]) <= _NOTICEABLE / 10:
        return ""
    return f"'{name}' {old.get(name, 0) / of_old:.0%} → {new.get(name, 0) / of_new:.0%}"


def shown(value: float) -> str:
    """Write a number with three significant digits, large ones with thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
