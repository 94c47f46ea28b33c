"""Groups of features in which something was found: what a fall of performance can be blamed on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from knownat.contract.read_plan import ReadPlan
from knownat.contract.schema import FeatureSchema
from monitoring.reshaping import Places
from monitoring.skew_report import EXPECTED, SkewReport
from monitoring.summary import ColumnDrift, Fault, FaultKind, Level

_LOSING = {
    FaultKind.MISSING_COLUMN,
    FaultKind.WRONG_TYPE,
    FaultKind.ALL_NULL,
    FaultKind.MORE_NULLS,
    FaultKind.CONSTANT,
    FaultKind.NOT_FOUND,
    FaultKind.EXPIRED,
    FaultKind.UNAVAILABLE,
}
_INPUTS = "request inputs"
_MOST = 4
_MUCH = 0.1
"""If more of the rows than these have names never seen, names were changed."""
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Suspect:
    """A group of model columns with what was found in it."""

    name: str
    columns: Places
    """Places in the model's own order."""
    evidence: tuple[str, ...]
    broken: bool
    """Whether it is a fault or an unexpected difference, not a mere shift."""
    alarming: bool
    """Whether one of its faults asks for action whatever the labels say, or values were served wrong."""
    lost: bool
    """Whether values are gone, so that no mapping brings them back."""
    skewed: bool
    """Whether values differ from those training would have seen, other than by lag."""
    swapped: Mapping[int, int] = field(default_factory=dict)
    """Columns that hold what another one should, and which: place by place."""


def find_suspects(
    plan: ReadPlan,
    schema: FeatureSchema,
    *,
    faults: Sequence[Fault],
    features: Sequence[ColumnDrift],
    skew: SkewReport | None = None,
) -> tuple[Suspect, ...]:
    """Gather what was found by feature view; broken ones come first, then what moved most of the model."""
    drifts = {drift.column: drift for drift in features}
    found, crossed = [], _crossed(schema, faults)
    for name, columns in groups_of(plan, schema).items():
        own = [fault for fault in faults if fault.subject in {name, *columns} and fault.level is not Level.OK]
        wrong = dict(_unexpected(skew, columns))
        moved = sorted(
            (drifts[c] for c in columns if c in drifts and drifts[c].drifted), key=lambda d: -d.weight
        )
        if not (own or wrong or moved):
            continue
        said = {*wrong, *(fault.subject for fault in own)}
        shifts = [_shift(drift) for drift in moved if drift.column not in said]
        evidence = [*(fault.message for fault in own), *wrong.values(), *shifts]
        places = [schema.names.index(c) for c in columns]
        suspect = Suspect(
            name=name,
            columns=np.array(places, dtype=np.int64),
            evidence=tuple(evidence[:_NAMED]),
            broken=bool(own or wrong),
            alarming=bool(wrong) or any(map(_alarms, own)),
            lost=any(fault.kind in _LOSING for fault in own),
            skewed=bool(wrong),
            swapped={place: crossed[place] for place in places if place in crossed},
        )
        weight = sum(drifts[c].importance * ((drifts[c].psi or 0) + len(own)) for c in columns if c in drifts)
        found.append((suspect.broken, weight, suspect))
    order = sorted(found, key=lambda each: (not each[0], -each[1], each[2].name))
    return tuple(suspect for _, _, suspect in order[:_MOST])


def groups_of(plan: ReadPlan, schema: FeatureSchema) -> Mapping[str, list[str]]:
    """Sort the model's columns by the view they come from; those of no view came with the request."""
    of = {view.column(f.name): view.name for view in plan.views for f in view.features}
    of |= {t.column(output.name): t.name for t in plan.transforms for output in t.outputs}
    groups: dict[str, list[str]] = {}
    for name in schema.names:
        groups.setdefault(of.get(name, _INPUTS), []).append(name)
    return groups


def _alarms(fault: Fault) -> bool:
    renamed = fault.kind is FaultKind.NEW_CATEGORIES and (fault.share or 0) >= _MUCH
    return fault.level is Level.ALERT or renamed


def _crossed(schema: FeatureSchema, faults: Sequence[Fault]) -> dict[int, int]:
    # Swapped columns are reported in pairs.
    places = [schema.names.index(fault.subject) for fault in faults if fault.kind is FaultKind.SWAPPED]
    pairs = list(zip(places[::2], places[1::2], strict=False))
    return {**dict(pairs), **{two: one for one, two in pairs}}


def _shift(drift: ColumnDrift) -> str:
    return f"{drift.column}: {drift.moved or 'other shares'} (PSI {drift.psi:.2f})"


def _unexpected(skew: SkewReport | None, columns: Sequence[str]) -> Iterator[tuple[str, str]]:
    for column in () if skew is None else skew.columns:
        causes = {cause: count for cause, count in column.causes.items() if cause not in EXPECTED}
        if column.column in columns and causes:
            worst = max(causes, key=lambda cause: causes[cause])
            words = worst.value.replace("_", " ")
            yield (
                column.column,
                f"{column.column}: {causes[worst]:,} values differ from training's by {words}",
            )
