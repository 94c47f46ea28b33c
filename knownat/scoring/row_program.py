"""One row on the shortest way: stored values and inputs in, a score out, and no column made.

What :meth:`Scorer.columns` and :class:`FeatureSchema` do for many rows by name is laid out once, when a
release is loaded, as places in one list: stored values, request inputs, on-demand outputs. A release is
loaded only if both ways give the same scores on its golden rows.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from knownat.contract.read_plan import ReadPlan
from knownat.contract.schema import Column, FeatureSchema
from knownat.errors import ReleaseError, SchemaMismatch
from knownat.scoring.booster import Booster
from knownat.scoring.transforms import Transform

_NAN = math.nan
_EXACT_FLOAT = 2**53
_INT64 = range(-(2**63), 2**63)
_WHOLE = frozenset({"int64", "int32", "bool"})
_NUMBERS = _WHOLE | {"float64", "float32"}

Convert = Callable[[object], float]


class ScoredRow(NamedTuple):
    """One row's scores, one an output of the model, and what the on-demand views made for it."""

    scores: list[float]
    made: list[object]


@dataclass(frozen=True)
class _Step:
    """One on-demand view: where its arguments lie, and the outputs it must give."""

    transform: Transform
    arguments: tuple[tuple[str, int], ...]
    outputs: tuple[str, ...]

    def run(self, values: list[object]) -> list[object]:
        found = self.transform.call({name: [values[place]] for name, place in self.arguments})
        try:
            return [value for (value,) in map(found.__getitem__, self.outputs)]
        except KeyError as error:
            problem = f"made no {error}"
        except (TypeError, ValueError):
            problem = "made outputs of another length than its one row"
        raise ReleaseError(f"On-demand view '{self.transform.plan.name}' {problem}. Build the release again.")


class RowProgram:
    """Scores one row at a time; ``stored`` and ``inputs`` come in the plan's order. Holds no state."""

    def __init__(
        self, plan: ReadPlan, schema: FeatureSchema, transforms: Sequence[Transform], booster: Booster
    ) -> None:
        kinds = {view.column(f.name): f.dtype for view in plan.views for f in view.features}
        kinds |= {i.name: i.dtype for i in plan.request_inputs}
        self._given = len(kinds)
        place = {name: number for number, name in enumerate(kinds)}
        self._steps: list[_Step] = []
        for transform in transforms:
            arguments = tuple((argument, place[column]) for argument, column in transform.reads)
            outputs = tuple(output.name for output in transform.plan.outputs)
            self._steps.append(_Step(transform, arguments, outputs))
            for output in outputs:
                place[transform.plan.column(output)] = len(place)
        if missing := [name for name in schema.names if name not in place]:
            raise ReleaseError(
                f"The read plan gives no {missing}, which the model needs. Train the model again."
            )
        self._pick = _picker([place[name] for name in schema.names])
        self._late = [
            (position, convert)
            for position, column in enumerate(schema.columns)
            if (convert := _conversion(column, kinds.get(column.name))) is not None
        ]
        self._predict = booster.predict_one

    def run(self, stored: Sequence[object], inputs: Sequence[object]) -> ScoredRow:
        """Run the on-demand views and the model on one row.

        Raises
        ------
        TransformFailed
            If an on-demand view's body raises on these values.
        SchemaMismatch
            If a value is of another type than the model's column.
        ReleaseError
            If an on-demand view gives other outputs than the plan promises.
        """
        values = [*stored, *inputs]
        if len(values) != self._given:
            raise SchemaMismatch(
                f"{len(values)} values are no row of {self._given} stored values and inputs."
            )
        for step in self._steps:
            values += step.run(values)
        row: list[Any] = [_NAN if value is None else value for value in self._pick(values)]
        for position, convert in self._late:
            row[position] = convert(row[position])
        return ScoredRow(self._predict(row), values[self._given :])


def _picker(places: list[int]) -> Callable[[list[object]], Sequence[object]]:
    if len(places) == 1:
        (only,) = places
        return lambda values: (values[only],)
    return operator.itemgetter(*places)


def _conversion(column: Column, kind: str | None) -> Convert | None:
    """What a column's values must go through; nothing where the store or the request gave the type."""
    if column.dtype == "category":
        return _code_of(column)
    taken = {"float64": _NUMBERS, "int64": _WHOLE, "bool": {"bool"}}[column.dtype]
    return None if kind in taken else _number_of(column)


def _code_of(column: Column) -> Convert:
    codes: Mapping[object, float] = {text: float(i) for i, text in enumerate(column.categories or ())}

    def convert(value: object) -> float:
        if not (isinstance(value, str) or _is_nan(value)):
            raise SchemaMismatch(
                f"Column '{column.name}' holds {type(value).__name__}; the model needs text."
            )
        return codes.get(value, _NAN)

    return convert


def _number_of(column: Column) -> Convert:
    def convert(value: object) -> float:
        # On-demand bodies may use NumPy, whose scalars are no Python numbers.
        plain = value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value
        if isinstance(plain, bool) or (isinstance(plain, float) and math.isnan(plain)):
            return float(plain)
        if column.dtype != "bool":
            if type(plain) is int and plain in _INT64:
                return float(plain)
            if type(plain) is float and (column.dtype == "float64" or _is_whole(plain)):
                return plain
        kind = type(plain).__name__
        raise SchemaMismatch(f"Column '{column.name}' holds a {kind} that is no {column.dtype}.")

    return convert


def _is_whole(value: float) -> bool:
    return value.is_integer() and abs(value) <= _EXACT_FLOAT


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
