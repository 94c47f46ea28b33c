"""What a booster is fitted to: columns in the schema's order, labels, and the sides of the split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.schema import Column, FeatureSchema
from knownat.errors import SchemaMismatch
from training.split import Fold, Rows

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Dataset:
    """A matrix of shape (rows, columns) with a label a row and the sides each row belongs to."""

    schema: FeatureSchema
    matrix: Vector
    labels: Vector
    fold: Fold
    weights: Vector | None = None
    """How much each row counts in the fit; all alike by default."""

    def only(self, names: Sequence[str]) -> "Dataset":
        """Leave the columns that are named, or whose view is."""
        kept = [
            position
            for position, column in enumerate(self.schema.columns)
            if column.name in names or column.name.split("__", 1)[0] in names
        ]
        if not kept:
            raise SchemaMismatch(f"No column is in {list(names)}; there are {list(self.schema.names)}.")
        schema = FeatureSchema(columns=tuple(self.schema.columns[position] for position in kept))
        return replace(self, schema=schema, matrix=self.matrix[:, kept])


def lay_out(
    frame: pa.Table,
    columns: Sequence[str],
    *,
    labels: Vector,
    fold: Fold,
    weights: Vector | None = None,
) -> Dataset:
    """Lay a joined frame out for the booster; categories are learned from the rows it is fitted to."""
    schema = learn_schema(frame, columns, fold.fit)
    return Dataset(schema, schema.matrix(frame), labels, fold, weights)


def learn_schema(frame: pa.Table, columns: Sequence[str], rows: Rows) -> FeatureSchema:
    """Type each column; text becomes a category with the values those rows hold, sorted.

    Raises
    ------
    SchemaMismatch
        If a column has a type no booster takes; every such column at once.
    """
    kinds = {name: frame.schema.field(name).type for name in columns}
    if odd := {name: str(kind) for name, kind in kinds.items() if not _trainable(kind)}:
        raise SchemaMismatch(f"Columns {odd} are no numbers, booleans or text. Leave them out.")
    return FeatureSchema(columns=tuple(_column(frame[name], name, rows) for name in columns))


def _column(values: pa.ChunkedArray, name: str, rows: Rows) -> Column:
    kind = values.type
    if pa.types.is_string(kind):
        seen = pc.unique(values.take(pa.array(rows))).drop_null().to_pylist()
        return Column(name=name, dtype="category", categories=tuple(sorted(seen)))
    if pa.types.is_boolean(kind):
        return Column(name=name, dtype="bool")
    return Column(name=name, dtype="int64" if pa.types.is_integer(kind) else "float64")


def _trainable(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
    return any(test(kind) for test in tests)
