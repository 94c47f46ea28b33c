"""Whether the feature views gave what they gave in training: rows at all, and rows as young."""

from collections.abc import Callable, Iterator

import numpy as np

from knownat.contract.buckets import Buckets
from knownat.contract.held import HeldNames, HeldNumbers
from knownat.contract.model_spec import Monitoring
from knownat.contract.profile import Profile
from knownat.contract.read_plan import ReadPlan, Status
from knownat.contract.reference import PAST_TTL, Reference, age_column, status_column
from monitoring.summary import Fault, FaultKind, Level, ViewStatus
from monitoring.usual import Past

_MORE_ABSENT = 0.05
_MANY_MORE_ABSENT = 0.5
_UNAVAILABLE_ALERT = 0.05
_NEARLY_ALL = 0.99
_ALL_THE_TIME = 0.8
_GRACE_S = 3_600.0
"""Rows are written in steps: how far behind they may be beyond what training saw."""

PastOf = Callable[[str], Past]


def statuses(plan: ReadPlan, reference: Reference, window: Profile) -> list[ViewStatus]:
    """Count what became of each view's rows; views without a logged status are left out."""
    found = []
    for view in plan.views:
        seen, expected = (_shares(profile, view.name) for profile in (window, reference.profile))
        if not seen:
            continue
        old, new = (_age(profile, view.name, 0.5) for profile in (reference.profile, window))
        found.append(
            ViewStatus(
                view=view.name,
                present=seen.get(Status.PRESENT, 0.0) + seen.get(PAST_TTL, 0.0),
                past_ttl=seen.get(PAST_TTL, 0.0),
                expired=seen.get(Status.EXPIRED, 0.0),
                # A row from after the question is none: the one before it is gone.
                not_found=seen.get(Status.NOT_FOUND, 0.0) + seen.get(Status.NOT_YET, 0.0),
                unavailable=seen.get(Status.UNAVAILABLE, 0.0) + seen.get(Status.LAST_KNOWN, 0.0),
                expected_absent=1 - expected.get(Status.PRESENT, 0.0) if expected else 0.0,
                age_s=new,
                expected_age_s=old,
                renewed=not _never_renewed(reference, view.name),
            )
        )
    return found


def view_faults(
    plan: ReadPlan, reference: Reference, window: Profile, past: PastOf, rules: Monitoring
) -> Iterator[Fault]:
    """Look for views that were down, had no rows, had old ones, or served what had expired."""
    enough = window.rows >= rules.min_rows
    for view in statuses(plan, reference, window):
        found = [
            *_of_reads(view),
            *_of_absent(view, _usually_absent(reference, view.view, past), enough=enough),
        ]
        yield from found
        if enough and not found and view.renewed:
            yield from _of_age(reference.profile, window, view)


def _of_reads(view: ViewStatus) -> Iterator[Fault]:
    if view.unavailable:
        level = Level.ALERT if view.unavailable > _UNAVAILABLE_ALERT else Level.WATCH
        text = f"{view.unavailable:.1%} of reads were not answered by the online store"
        yield _fault(FaultKind.UNAVAILABLE, level, view.view, text, view.unavailable)
    if view.past_ttl:
        text = f"{view.past_ttl:.1%} were served though they were past the view's time to live"
        yield _fault(FaultKind.PAST_TTL, Level.ALERT, view.view, text, view.past_ttl)


def _of_absent(view: ViewStatus, usual: float, *, enough: bool) -> Iterator[Fault]:
    more = view.expired + view.not_found - max(usual, view.expected_absent)
    if more <= _MORE_ABSENT:
        return
    level = Level.ALERT if enough and more > _MANY_MORE_ABSENT else Level.WATCH
    kinds = ((FaultKind.EXPIRED, view.expired), (FaultKind.NOT_FOUND, view.not_found))
    kind, share = max(kinds, key=lambda pair: pair[1])
    expired = kind is FaultKind.EXPIRED
    what = "are older than the view's ttl" if expired else "have no row in the online store"
    text = f"{share:.1%} {what}; the baseline lacked {view.expected_absent:.1%}"
    yield _fault(kind, level, view.view, text, share)


def _of_age(reference: Profile, window: Profile, view: ViewStatus) -> Iterator[Fault]:
    old, new = _age(reference, view.view, _NEARLY_ALL), _age(window, view.view, 0.5)
    if old is None or new is None or new <= max(1.5 * old, old + _GRACE_S):
        return
    text = (
        f"half of its rows were older than {_span(new)} when they were served; "
        f"in training 99 of 100 were younger than {_span(old)}"
    )
    yield _fault(FaultKind.STALE, Level.ALERT, view.view, text)


def _never_renewed(reference: Reference, view: str) -> bool:
    """Whether the view's rows were written once and for all: in training they aged as time passed."""
    name, history = age_column(view), reference.history
    counts, oldest = history.counts.get(name), _age(reference.profile, view, _NEARLY_ALL)
    if counts is None or oldest is None or not counts.any():
        return False
    steps = np.flatnonzero(counts.any(axis=1))
    whole_s = int(steps[-1] - steps[0] + 1) * history.step_us / 1e6
    return oldest > _ALL_THE_TIME * whole_s


def _shares(profile: Profile, view: str) -> dict[str, float]:
    column = profile.columns.get(status_column(view))
    if column is None or not isinstance(column.held, HeldNames) or not column.values:
        return {}
    known = zip(column.held.grid.names, column.held.counts.tolist(), strict=True)
    return {name: rows / column.values for name, rows in (*known, *column.held.new_names.items())}


def _usually_absent(reference: Reference, view: str, past: PastOf) -> float:
    """Return the share of rows without a view that one past window in a hundred had."""
    name = status_column(view)
    column = reference.profile.columns.get(name)
    if column is None:
        return 0.0
    labels = Buckets.of(column).labels
    if Status.PRESENT.value not in labels:
        return 1.0
    return 1 - past(name).usual_share(labels.index(Status.PRESENT.value), at_least=_NEARLY_ALL)


def _age(profile: Profile, view: str, share: float) -> float | None:
    column = profile.columns.get(age_column(view))
    return column.held.quantile(share) if column and isinstance(column.held, HeldNumbers) else None


def _span(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def _fault(kind: FaultKind, level: Level, subject: str, text: str, share: float | None = None) -> Fault:
    return Fault(kind=kind, level=level, subject=subject, share=share, message=f"{subject}: {text}")
