"""One way to a score: the release's own bytes, transforms and column order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.read_plan import ReadPlan
from knownat.contract.release import GOLDEN, MODEL, Release
from knownat.contract.schema import FeatureSchema
from knownat.errors import ReleaseError, SchemaMismatch
from knownat.scoring.booster import Booster
from knownat.scoring.row_program import RowProgram, ScoredRow
from knownat.scoring.transforms import Columns, Transform, load_transform, run_transform

TOLERANCE = 1e-12
"""Largest difference between two scores that count as the same."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scorer:
    """A release ready to score; it reads nothing but what it was given."""

    release: Release
    plan: ReadPlan
    schema: FeatureSchema
    booster: Booster
    transforms: tuple[Transform, ...]

    @classmethod
    def load(cls, release: Release) -> Self:
        """Load a verified release and prove it on its golden rows.

        Raises
        ------
        ReleaseError
            If a part cannot be loaded, or a golden row comes out otherwise than it was recorded.
        """
        plan, schema = release.plan, release.manifest.feature_schema
        sources = release.transform_sources()
        scorer = cls(
            release=release,
            plan=plan,
            schema=schema,
            booster=Booster.from_bytes(release.read_bytes(MODEL)),
            transforms=tuple(
                load_transform(t, sources[t.file], client_inputs=plan.client_inputs) for t in plan.transforms
            ),
        )
        scorer._refuse_other_columns()
        scorer._prove_golden_rows()
        return scorer

    def columns(self, stored: Columns, inputs: Columns) -> dict[str, Sequence[object]]:
        """Add the on-demand outputs to stored values and request inputs; rows keep their order."""
        columns: dict[str, Sequence[object]] = {**stored, **inputs}
        for transform in self.transforms:
            columns.update(run_transform(transform, columns))
        return columns

    def score(self, columns: Mapping[str, Sequence[object]] | pa.Table) -> Scores:
        """Score n rows of model columns: shape (n,), or (n, classes) for a multiclass model.

        Raises
        ------
        SchemaMismatch
            If a model column is missing or holds values of another type.
        """
        return self.booster.predict(self.schema.matrix(columns))

    @cached_property
    def program(self) -> RowProgram:
        """The way of one row to its score."""
        return RowProgram(self.plan, self.schema, self.transforms, self.booster)

    def score_one(self, stored: Sequence[object], inputs: Sequence[object]) -> ScoredRow:
        """Score one row; stored values and request inputs come in the plan's order.

        Raises
        ------
        TransformFailed
            If an on-demand view's body raises on these values.
        SchemaMismatch
            If a value is of another type than the model's column.
        """
        return self.program.run(stored, inputs)

    def _refuse_other_columns(self) -> None:
        if self.booster.num_features != len(self.schema.columns):
            raise ReleaseError(
                f"{self.release.path}: the model takes {self.booster.num_features} columns, "
                f"the manifest names {len(self.schema.columns)}. Train the model again."
            )

    def _prove_golden_rows(self) -> None:
        # Not read_table, which imports what reads data sets, and pandas with it; on one thread, since a
        # trial is forked from a process that may have had more.
        golden = pq.ParquetFile(pa.BufferReader(self.release.read_bytes(GOLDEN))).read(use_threads=False)
        if not len(golden):
            raise ReleaseError(f"{self.release.path}: it has no golden rows to prove. Train the model again.")
        given = {name: golden[name].to_pylist() for name in golden.column_names}
        inputs = {i.name: given[i.name] for i in self.plan.request_inputs}
        stored = {
            view.column(f.name): given[view.column(f.name)] for view in self.plan.views for f in view.features
        }
        made = self.columns(stored, inputs)
        self._refuse_other_values(made, given)
        try:
            wanted = np.array(given["score"], dtype=np.float64)
            together = largest_difference(self.score(made), wanted)
            rows = self._score_alone(stored, inputs, len(golden))
            alone = largest_difference(self._scores_of(rows), wanted)
        except SchemaMismatch as error:
            raise ReleaseError(f"{self.release.path}: golden rows do not fit the model. {error}") from error
        for way, difference in (("", together), (" one by one", alone)):
            if difference > TOLERANCE:
                found = f"golden scores differ by {difference:.3g}{way}"
                raise ReleaseError(f"{self.release.path}: {found}. Train the model again.")

        names = [t.column(output.name) for t in self.plan.transforms for output in t.outputs]
        alone_made = zip(*(row.made for row in rows), strict=True)
        self._refuse_other_values(dict(zip(names, alone_made, strict=True)), given, " one by one")

    def _refuse_other_values(
        self, made: Mapping[str, Sequence[object]], given: Mapping[str, Sequence[object]], way: str = ""
    ) -> None:
        for transform in self.plan.transforms:
            for name in map(transform.column, (output.name for output in transform.outputs)):
                if not same_values(made[name], given[name]):
                    raise ReleaseError(
                        f"{self.release.path}: golden rows give other values of '{name}'{way}."
                    )

    def _score_alone(self, stored: Columns, inputs: Columns, rows: int) -> list[ScoredRow]:
        given = ([[column[i] for column in part.values()] for part in (stored, inputs)] for i in range(rows))
        return [self.score_one(values, asked) for values, asked in given]

    def _scores_of(self, rows: Sequence[ScoredRow]) -> Scores:
        scores = np.array([row.scores for row in rows])
        return scores if self.booster.num_outputs > 1 else scores.reshape(len(rows))


def same_values(found: Sequence[object], wanted: Sequence[object]) -> bool:
    """Whether two columns hold the same values, None equal to NaN, numbers compared as numbers."""
    return len(found) == len(wanted) and all(
        a == b or (_is_null(a) and _is_null(b)) for a, b in zip(found, wanted, strict=True)
    )


def largest_difference(found: Scores, wanted: Scores) -> float:
    """Return the largest absolute difference, infinite where shapes differ or a score is NaN."""
    if found.shape != wanted.shape:
        return float("inf")
    if not found.size:
        return 0.0
    difference = float(np.max(np.abs(found - wanted)))
    return float("inf") if np.isnan(difference) else difference


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
