"""What is wrong with the data itself: found apart from drift, and never a reason to stop.

Evidently crashes on an all-null column, skips a missing one without a word, and reads 90 % nulls as
no drift; so each of these is looked for here, by name.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from knownat.contract.columns import Numbers, as_numbers, as_texts, find_nulls, is_category, null_share
from knownat.contract.model_spec import Monitoring
from knownat.contract.prediction_log import prediction_schema
from knownat.contract.read_plan import ReadPlan, Status
from knownat.contract.schema import Column, FeatureSchema
from knownat.errors import SchemaMismatch
from monitoring.binning import count_rows, fit_bins, new_share
from monitoring.summary import Fault, FaultKind, Level, ViewStatus
from monitoring.usual import NO_PAST, PastWindows

_MORE_NULLS = 0.1
_MANY_MORE_NULLS = 0.5
_NEW_CATEGORIES = 0.01
_MORE_ABSENT = 0.05
_MANY_MORE_ABSENT = 0.5
_UNAVAILABLE_ALERT = 0.05
_NEARLY_ALWAYS = 0.9
_NOW_AND_THEN = 0.01
"""What more than this share of past windows showed is usual."""
_BY_CHANCE = 0.001


def find_faults(
    *,
    schema: FeatureSchema,
    plan: ReadPlan,
    baseline: pa.Table,
    window: pa.Table,
    rules: Monitoring,
    past: PastWindows = NO_PAST,
) -> list[Fault]:
    """Look at every model column, every unknown one, and every view's rows; the worst come first.

    What windows of the same length within the baseline (``past``) show now and then is no fault.
    """
    if not window.num_rows:
        message = "no prediction was logged in this window"
        return [Fault(kind=FaultKind.EMPTY_WINDOW, level=Level.WATCH, subject="window", message=message)]
    faults = [
        *_of_new_columns(schema, plan, window),
        *_of_views(statuses(plan, baseline, window), enough=window.num_rows >= rules.min_rows),
    ]
    for column in schema.columns:
        faults += _of_column(column, baseline, window, rules, past)
    order = (Level.ALERT, Level.WATCH, Level.OK)
    return sorted(faults, key=lambda fault: order.index(fault.level))


def statuses(plan: ReadPlan, baseline: pa.Table, window: pa.Table) -> list[ViewStatus]:
    """Count what became of each view's rows; views without a logged status are left out."""
    found = []
    for view in plan.views:
        name = f"served__{view.name}__status"
        if name not in window.column_names or not window.num_rows:
            continue
        seen = window[name].to_pylist()
        share = {status: seen.count(status.value) / len(seen) for status in Status}
        columns = [view.column(f.name) for f in view.features if view.column(f.name) in baseline.column_names]
        found.append(
            ViewStatus(
                view=view.name,
                present=share[Status.PRESENT],
                expired=share[Status.EXPIRED],
                not_found=share[Status.NOT_FOUND],
                unavailable=share[Status.UNAVAILABLE],
                expected_absent=_all_absent(baseline, columns),
            )
        )
    return found


def known_bounds(numbers: Numbers) -> tuple[float, float]:
    """Return what a value may be before it counts as out of range: the baseline's, widened by itself."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return -np.inf, np.inf
    low, high = float(finite.min()), float(finite.max())
    # Of a constant baseline nothing can be said but by the constant's own size.
    width = (high - low) or max(abs(high), 1.0)
    return low - width, high + width


def _of_column(
    column: Column, baseline: pa.Table, window: pa.Table, rules: Monitoring, past: PastWindows
) -> Iterator[Fault]:
    name = column.name
    if name not in window.column_names:
        yield _fault(
            FaultKind.MISSING_COLUMN, Level.ALERT, name, "the model needs it, the log does not have it"
        )
        return
    if name not in baseline.column_names:
        return
    before, now = baseline[name], window[name]
    try:
        yield from _of_nulls(column, before, now, rules, past)
        if is_category(column):
            yield from _of_names(column, before, now)
        else:
            yield from _of_numbers(name, as_numbers(name, before), as_numbers(name, now), rules, past)
    except SchemaMismatch:
        yield _fault(FaultKind.WRONG_TYPE, Level.ALERT, name, f"the log holds {now.type}")


def _of_nulls(
    column: Column, before: pa.ChunkedArray, now: pa.ChunkedArray, rules: Monitoring, past: PastWindows
) -> Iterator[Fault]:
    absent = find_nulls(column, before)
    old, new = float(absent.mean()), null_share(column, now)
    if new - old <= _MORE_NULLS or past.share_within(absent, share=new) > _NOW_AND_THEN:
        return
    if new == 1 and old ** len(now) < _BY_CHANCE:
        text = f"no value at all; the baseline had {1 - old:.0%}"
        yield _fault(FaultKind.ALL_NULL, Level.ALERT, column.name, text, new)
    elif len(now) >= rules.min_rows:
        level = Level.ALERT if new - old > _MANY_MORE_NULLS else Level.WATCH
        text = f"{new:.0%} are without a value, the baseline had {old:.0%}"
        yield _fault(FaultKind.MORE_NULLS, level, column.name, text, new)


def _of_names(column: Column, before: pa.ChunkedArray, now: pa.ChunkedArray) -> Iterator[Fault]:
    bins = fit_bins(column, before)
    share = new_share(bins, count_rows(bins, now))
    if share > _NEW_CATEGORIES:
        known = set(as_texts(column.name, before).unique().to_pylist())
        new = sorted(set(as_texts(column.name, now).drop_null().unique().to_pylist()) - known)
        named = ", ".join([*new[:3], *(["..."] if len(new) > 3 else [])])
        text = f"{share:.1%} are names the baseline never held ({named})"
        yield _fault(FaultKind.NEW_CATEGORIES, Level.WATCH, column.name, text, share)


def _of_numbers(
    name: str, before: Numbers, now: Numbers, rules: Monitoring, past: PastWindows
) -> Iterator[Fault]:
    infinite = np.isinf(now)
    if infinite.any() and not np.isinf(before).any():
        share = float(infinite.mean())
        yield _fault(FaultKind.INFINITE, Level.WATCH, name, _rows(infinite, "infinite"), share)
    low, high = known_bounds(before)
    finite = now[np.isfinite(now)]
    outside = (finite < low) | (finite > high)
    if outside.any():
        extreme = finite[outside][np.argmax(np.abs(finite[outside]))]
        text = f"{_rows(outside, 'far outside')} {low:.4g} to {high:.4g}, up to {extreme:.4g}"
        yield _fault(FaultKind.OUT_OF_RANGE, Level.WATCH, name, text, float(outside.sum() / len(now)))
    if len(finite) >= rules.min_rows and finite.min() == finite.max():
        yield from _of_constant(name, before, float(finite[0]), past)


def _of_constant(name: str, before: Numbers, value: float, past: PastWindows) -> Iterator[Fault]:
    known = before[np.isfinite(before)]
    distinct = len(np.unique(known))
    nearly_always = len(known) > 0 and np.mean(known == value) > _NEARLY_ALWAYS
    if distinct > 1 and not nearly_always and past.constant_share(before) <= _NOW_AND_THEN:
        text = f"every value is {value:.4g}; the baseline had {distinct} values"
        yield _fault(FaultKind.CONSTANT, Level.WATCH, name, text, 1.0)


def _of_new_columns(schema: FeatureSchema, plan: ReadPlan, window: pa.Table) -> Iterator[Fault]:
    known = {*schema.names, *prediction_schema(plan).names, *plan.output_columns}
    for name in window.column_names:
        # The log's columns are the union over a model's versions: one without values is another's.
        if name not in known and window[name].null_count < window.num_rows:
            yield _fault(FaultKind.NEW_COLUMN, Level.WATCH, name, "this release does not know it")


def _of_views(views: Sequence[ViewStatus], *, enough: bool) -> Iterator[Fault]:
    for view in views:
        if view.unavailable:
            level = Level.ALERT if view.unavailable > _UNAVAILABLE_ALERT else Level.WATCH
            text = f"{view.unavailable:.1%} of reads were not answered by the online store"
            yield _fault(FaultKind.UNAVAILABLE, level, view.view, text, view.unavailable)
        more = view.expired + view.not_found - view.expected_absent
        if more <= _MORE_ABSENT:
            continue
        level = Level.ALERT if enough and more > _MANY_MORE_ABSENT else Level.WATCH
        kind, share = max(
            ((FaultKind.EXPIRED, view.expired), (FaultKind.NOT_FOUND, view.not_found)),
            key=lambda pair: pair[1],
        )
        what = (
            "are older than the view's ttl"
            if kind is FaultKind.EXPIRED
            else "have no row in the online store"
        )
        text = f"{share:.1%} {what}; the baseline lacked {view.expected_absent:.1%}"
        yield _fault(kind, level, view.view, text, share)


def _all_absent(baseline: pa.Table, columns: Sequence[str]) -> float:
    if not columns or not baseline.num_rows:
        return 0.0
    absent = np.ones(baseline.num_rows, dtype=np.bool_)
    for name in columns:
        absent &= baseline[name].is_null(nan_is_null=True).to_numpy()
    return float(absent.mean())


def _rows(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]], what: str) -> str:
    count = int(chosen.sum())
    return f"{count} {'value is' if count == 1 else 'values are'} {what}"


def _fault(kind: FaultKind, level: Level, subject: str, text: str, share: float | None = None) -> Fault:
    return Fault(kind=kind, level=level, subject=subject, share=share, message=f"{subject}: {text}")
