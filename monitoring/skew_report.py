"""What a comparison of served values with training's found, column by column: counts, causes, examples."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from monitoring.causes import Cause

EXPECTED = frozenset({Cause.LAG})
"""Rows are written in steps: what became known since the last one is not served yet."""
_EXAMPLES = 3


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_Frozen):
    """One value that differs; texts, since values of any type stand side by side."""

    prediction_id: str
    cause: Cause
    served: str
    offline: str


class ColumnSkew(_Frozen):
    """One column that differs somewhere."""

    column: str
    causes: Mapping[Cause, int]
    examples: tuple[Example, ...]
    """A few of each cause."""

    @property
    def values(self) -> int:
        """How many values differ."""
        return sum(self.causes.values())


class SkewReport(_Frozen):
    """Served values beside what training would have seen at the questions' own times."""

    asked: int
    """Predictions of the window."""
    rows: int
    """Those that were compared."""
    values: int
    """Feature values that were compared."""
    columns: tuple[ColumnSkew, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every prediction was compared."""
        return self.rows == self.asked

    @property
    def causes(self) -> dict[Cause, int]:
        """How many values differ for each cause, the commonest first."""
        total: Counter[Cause] = Counter()
        for column in self.columns:
            total.update(column.causes)
        return dict(total.most_common())

    @property
    def differences(self) -> int:
        """How many values differ."""
        return sum(self.causes.values())

    @property
    def unexpected(self) -> dict[Cause, int]:
        """Causes that are somebody's to mend."""
        return {cause: count for cause, count in self.causes.items() if cause not in EXPECTED}

    def __add__(self, other: "SkewReport") -> "SkewReport":
        """Put the reports of two versions together."""
        found = {column.column: column for column in self.columns}
        for column in other.columns:
            mine = found.get(column.column)
            found[column.column] = column if mine is None else _added(mine, column)
        return SkewReport(
            asked=self.asked + other.asked,
            rows=self.rows + other.rows,
            values=self.values + other.values,
            columns=worst_first(found.values()),
        )


def column_skew(
    name: str,
    causes: Iterable[Cause | None],
    ids: Iterable[str],
    served: Iterable[object],
    offline: Iterable[object],
) -> ColumnSkew | None:
    """Count one column's causes and keep a few examples of each; None where nothing differs."""
    counts: Counter[Cause] = Counter()
    examples = []
    for cause, who, ours, theirs in zip(causes, ids, served, offline, strict=True):
        if cause is None:
            continue
        counts[cause] += 1
        if counts[cause] <= _EXAMPLES:
            examples.append(
                Example(prediction_id=who, cause=cause, served=_shown(ours), offline=_shown(theirs))
            )
    return ColumnSkew(column=name, causes=dict(counts), examples=tuple(examples)) if counts else None


def worst_first(columns: Iterable[ColumnSkew]) -> tuple[ColumnSkew, ...]:
    """Order columns by how many values somebody has to mend, then by how many differ."""

    def severity(column: ColumnSkew) -> tuple[int, int, str]:
        unexpected = sum(count for cause, count in column.causes.items() if cause not in EXPECTED)
        return -unexpected, -column.values, column.column

    return tuple(sorted(columns, key=severity))


def _added(one: ColumnSkew, two: ColumnSkew) -> ColumnSkew:
    return ColumnSkew(
        column=one.column,
        causes=dict(Counter(one.causes) + Counter(two.causes)),
        examples=(*one.examples, *two.examples),
    )


def _shown(value: object) -> str:
    return "no value" if value is None or (isinstance(value, float) and math.isnan(value)) else repr(value)
