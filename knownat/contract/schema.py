"""The ordered, typed columns a model was trained on.

Training and scoring pass through the same object, so skew of order, name or type cannot happen
quietly.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, model_validator

from knownat.errors import SchemaMismatch

Dtype = Literal["float64", "int64", "bool", "category"]

# What a column of each dtype may arrive as. An integer column with nulls comes back from Feast as
# float64 with NaN, so a float is accepted there when every value is a whole number.
_EXACT_FLOAT = 2**53

# Python's own types that need no look at their values: as a double each is what it was, or as near.
_NONE = type(None)
_PLAIN = {
    "float64": frozenset({float, bool, _NONE}),
    "int64": frozenset({bool, _NONE}),
    "bool": frozenset({bool, _NONE}),
}


class Column(BaseModel):
    """One model input: Feast's full name, its type, and the known categories of a category."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: Dtype
    categories: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _categories_belong_to_categories(self) -> Self:
        if (self.dtype == "category") != (self.categories is not None):
            raise ValueError(f"column '{self.name}': categories go with dtype 'category', and only there")
        return self


class FeatureSchema(BaseModel):
    """The model's input columns, in the order the booster expects them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in the booster's order."""
        return tuple(column.name for column in self.columns)

    @property
    def categorical(self) -> tuple[int, ...]:
        """Positions of the category columns."""
        return tuple(i for i, column in enumerate(self.columns) if column.dtype == "category")

    def matrix(self, values: Mapping[str, Sequence[object]] | pa.Table) -> npt.NDArray[np.float64]:
        """Lay values out as the booster's input: shape (rows, columns), row-major float64.

        A null is NaN, a category is its position among the known ones, an unseen category is NaN
        like a null: LightGBM then takes the branch it learned for missing values.

        Raises
        ------
        SchemaMismatch
            If a column is missing or holds values of another type.
        """
        have = values.column_names if isinstance(values, pa.Table) else list(values)
        if missing := [name for name in self.names if name not in set(have)]:
            raise SchemaMismatch(
                f"The rows lack {missing}; the model needs {list(self.names)}. "
                "Score with the feature service named in the model's manifest."
            )
        arrays = [_as_float64(column, values[column.name]) for column in self.columns]
        rows = len(arrays[0]) if arrays else 0
        matrix = np.empty((rows, len(arrays)), dtype=np.float64)
        for position, array in enumerate(arrays):
            matrix[:, position] = array
        return matrix


def _as_float64(column: Column, values: Sequence[object] | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    if column.dtype == "category":
        return _codes(column, values)
    if type(values) is list and set(map(type, values)) <= _PLAIN[column.dtype]:
        return np.array(values, dtype=np.float64)  # NumPy makes NaN of None.
    try:
        array = pa.array(values, from_pandas=True) if not isinstance(values, pa.ChunkedArray) else values
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise SchemaMismatch(f"Column '{column.name}' mixes types; it must be {column.dtype}.") from error
    kind = array.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan)
    if not (pa.types.is_boolean(kind) or (number and column.dtype != "bool")):
        raise SchemaMismatch(f"Column '{column.name}' holds {kind}; the model needs {column.dtype}.")
    floats = pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    result = np.asarray(floats, dtype=np.float64)
    if column.dtype == "int64" and pa.types.is_floating(kind):
        _refuse_fractions(column, result)
    return result


def _refuse_fractions(column: Column, values: npt.NDArray[np.float64]) -> None:
    finite = values[~np.isnan(values)]
    if not np.array_equal(finite, np.trunc(finite)) or np.any(np.abs(finite) > _EXACT_FLOAT):
        raise SchemaMismatch(f"Column '{column.name}' holds fractions or inexact integers; it must be int64.")


def _codes(column: Column, values: Sequence[object] | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    listed = values.to_pylist() if isinstance(values, pa.ChunkedArray) else list(values)
    wrong = next((v for v in listed if not (v is None or isinstance(v, str) or _is_nan(v))), None)
    if wrong is not None:
        kind = type(wrong).__name__
        raise SchemaMismatch(f"Column '{column.name}' holds {kind}; the model needs text.")
    code = {category: float(position) for position, category in enumerate(column.categories or ())}
    nan = float("nan")
    return np.array([code.get(v, nan) if isinstance(v, str) else nan for v in listed], dtype=np.float64)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
