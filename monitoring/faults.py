"""What is wrong with the data itself: found apart from drift, and never a reason to stop.

Evidently crashes on an all-null column, skips a missing one without a word, and reads 90 % nulls as
no drift; so each of these is looked for here, by name, in counts that are there already.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from knownat.contract.buckets import Buckets
from knownat.contract.held import HeldNames, HeldNumbers, unseen_share
from knownat.contract.model_spec import Monitoring
from knownat.contract.prediction_log import prediction_schema
from knownat.contract.profile import ColumnProfile, Profile
from knownat.contract.read_plan import ReadPlan
from knownat.contract.reference import Reference
from knownat.contract.schema import FeatureSchema
from monitoring.mixups import Pair, swapped_pairs, unit_factor, usually_grows
from monitoring.ranges import known_bounds, rows_outside
from monitoring.summary import Fault, FaultKind, Level
from monitoring.usual import Past
from monitoring.views import view_faults
from monitoring.windows import Window

_MORE_NULLS = 0.1
_MANY_MORE_NULLS = 0.5
_NEW_CATEGORIES = 0.01
_RENAMED = 0.25
"""By what share of itself a lost name may differ from a new one that took its place."""
_NEARLY_ALWAYS = 0.9
_NOW_AND_THEN = 0.01
"""What more than this share of past windows showed is usual."""
_BY_CHANCE = 0.001


@dataclass(frozen=True)
class Seen:
    """A window as it was profiled, beside the release that answered in it."""

    schema: FeatureSchema
    plan: ReadPlan
    reference: Reference
    profile: Profile
    window: Window
    rules: Monitoring

    def past(self, column: str) -> Past:
        """Return a column's past windows of this one's length."""
        return Past.of(self.reference.history, column, self.window)


def find_faults(seen: Seen) -> list[Fault]:
    """Look at every model column, every unknown one, and every view's rows; the worst come first.

    What windows of the same length within the reference show now and then is no fault.
    """
    if not seen.profile.rows:
        message = "no prediction was logged in this window"
        return [Fault(kind=FaultKind.EMPTY_WINDOW, level=Level.WATCH, subject="window", message=message)]
    faults = [
        *_of_new_columns(seen),
        *view_faults(seen.plan, seen.reference, seen.profile, seen.past, seen.rules),
    ]
    explained = list(_of_mixups(seen))
    named = {fault.subject for fault in explained}
    for column in seen.schema.columns:
        if column.name not in named:
            faults += _of_column(seen, column.name)
    order = (Level.ALERT, Level.WATCH, Level.OK)
    return sorted([*faults, *explained], key=lambda fault: order.index(fault.level))


def _of_column(seen: Seen, name: str) -> Iterator[Fault]:
    before, now = seen.reference.profile.columns[name], seen.profile.columns[name]
    if now.absent:
        text = "the model needs it, the log does not have it"
        yield _fault(FaultKind.MISSING_COLUMN, Level.ALERT, name, text, now.absent / seen.profile.rows)
    if now.mistyped:
        text = f"the log holds {', '.join(sorted(now.types))}"
        yield _fault(FaultKind.WRONG_TYPE, Level.ALERT, name, text, now.mistyped / seen.profile.rows)
    if not now.values + now.missing:
        return
    yield from _of_nulls(name, before, now, seen)
    if isinstance(before.held, HeldNames) and isinstance(now.held, HeldNames):
        yield from _of_names(name, before.held, now.held)
    elif isinstance(before.held, HeldNumbers) and isinstance(now.held, HeldNumbers):
        yield from _of_numbers(name, before.held, now.held, seen)


def _of_nulls(name: str, before: ColumnProfile, now: ColumnProfile, seen: Seen) -> Iterator[Fault]:
    rows = now.values + now.missing
    old, new = before.missing / max(before.values + before.missing, 1), now.missing / rows
    if new - old <= _MORE_NULLS or seen.past(name).share_of_nulls_within(new) > _NOW_AND_THEN:
        return
    if new == 1 and old**rows < _BY_CHANCE:
        yield _fault(
            FaultKind.ALL_NULL, Level.ALERT, name, f"no value at all; the baseline had {1 - old:.0%}", new
        )
    elif rows >= seen.rules.min_rows:
        level = Level.ALERT if new - old > _MANY_MORE_NULLS else Level.WATCH
        text = f"{new:.0%} are without a value, the baseline had {old:.0%}"
        yield _fault(FaultKind.MORE_NULLS, level, name, text, new)


def _of_names(name: str, before: HeldNames, now: HeldNames) -> Iterator[Fault]:
    total = int(now.counts.sum()) + now.new
    share = now.new / total if total else 0.0
    likely = unseen_share(before)
    usual = likely + 3 * (likely / max(total, 1)) ** 0.5
    # Of a grid without all names of the reference, another name need not be new.
    if share <= _NEW_CATEGORIES + usual or not now.grid.complete:
        return
    commonest = sorted(now.new_names, key=lambda new: (-now.new_names[new], new))
    named = ", ".join([*commonest[:3], *(["..."] if len(commonest) > 3 else [])])
    text = f"{share:.1%} are names the baseline never held ({named}){_renamed(before, now, total)}"
    yield _fault(FaultKind.NEW_CATEGORIES, Level.WATCH, name, text, share)


def _renamed(before: HeldNames, now: HeldNames, total: int) -> str:
    """Name what a new name may have been called before: a known one that is gone, with as many rows."""
    known = int(before.counts.sum())
    gone = {
        name: was / known * total
        for name, was, left in zip(
            before.grid.names, before.counts.tolist(), now.counts.tolist(), strict=True
        )
        if was and not left
    }
    for new, rows in sorted(now.new_names.items(), key=lambda pair: (-pair[1], pair[0])):
        for name, expected in gone.items():
            if abs(rows - expected) <= _RENAMED * expected:
                return f"; '{new}' may be '{name}' renamed"
    return ""


def _of_numbers(name: str, before: HeldNumbers, now: HeldNumbers, seen: Seen) -> Iterator[Fault]:
    rows = now.finite + now.infinite + now.minus_infinite
    infinite = now.infinite + now.minus_infinite
    if infinite and not before.infinite + before.minus_infinite:
        yield _fault(FaultKind.INFINITE, Level.WATCH, name, _rows(infinite, "infinite"), infinite / rows)
    low, high = known_bounds(before)
    if outside := rows_outside(now, low, high):
        extreme = max(
            (v for v in (now.low, now.high) if v is not None), key=lambda v: abs(v - (low + high) / 2)
        )
        text = f"{_rows(outside, 'far outside')} {low:.4g} to {high:.4g}, up to {extreme:.4g}"
        yield _fault(FaultKind.OUT_OF_RANGE, Level.WATCH, name, text, outside / rows)
    if now.finite >= seen.rules.min_rows and now.constant and not _may_stand_still(name, before, now, seen):
        value = 0.0 if now.low is None else now.low
        text = f"every value is {value:.4g}; the baseline's went from {before.low:.4g} to {before.high:.4g}"
        yield _fault(FaultKind.CONSTANT, Level.WATCH, name, text, 1.0)


def _may_stand_still(name: str, before: HeldNumbers, now: HeldNumbers, seen: Seen) -> bool:
    if before.low is None or before.constant:
        return True
    nearly_always = int(before.counts[now.counts > 0].max(initial=0)) > _NEARLY_ALWAYS * before.finite
    if nearly_always or seen.past(name).stood_still > _NOW_AND_THEN:
        return True
    # Calm weather lasts: some window in the past held little else.
    column, rows = seen.reference.profile.columns[name], seen.profile.columns[name]
    bucket = int(np.argmax(Buckets.of(column).collapse(rows)))
    return seen.past(name).largest_share(bucket) > _NEARLY_ALWAYS


def _of_mixups(seen: Seen) -> Iterator[Fault]:
    """Look for columns that are whole in themselves, but not what they are called."""
    if seen.profile.rows < seen.rules.min_rows:
        return
    pairs = dict(_numbers(seen))
    found = set()
    for name, (before, now) in pairs.items():
        factor = unit_factor(before, now)
        if factor and not usually_grows(seen.reference.profile.columns[name], factor, seen.past(name)):
            found.add(name)
            text = f"values are {factor:.4g} times what they were; did its unit change?"
            yield _fault(FaultKind.UNIT_CHANGED, Level.ALERT, name, text)
    rest = {name: pair for name, pair in pairs.items() if name not in found}
    for one, two in swapped_pairs(rest):
        for name, other in ((one, two), (two, one)):
            text = f"it holds what {other} used to hold; were the two swapped?"
            yield _fault(FaultKind.SWAPPED, Level.ALERT, name, text)


def _numbers(seen: Seen) -> Iterator[tuple[str, Pair]]:
    for name in seen.schema.names:
        before, now = seen.reference.profile.columns[name].held, seen.profile.columns[name].held
        if isinstance(now, HeldNames) or now.finite < seen.rules.min_rows:
            continue
        if isinstance(before, HeldNumbers):
            yield name, (before, now)


def _of_new_columns(seen: Seen) -> Iterator[Fault]:
    known = {*seen.schema.names, *prediction_schema(seen.plan).names, *seen.plan.output_columns}
    for name in seen.profile.others:
        if name not in known:
            yield _fault(FaultKind.NEW_COLUMN, Level.WATCH, name, "this release does not know it")


def _rows(count: int, what: str) -> str:
    return f"{count} {'value is' if count == 1 else 'values are'} {what}"


def _fault(kind: FaultKind, level: Level, subject: str, text: str, share: float | None = None) -> Fault:
    return Fault(kind=kind, level=level, subject=subject, share=share, message=f"{subject}: {text}")
