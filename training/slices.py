"""The model's metric in groups of rows, so that a good mean hides no bad part."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.model_spec import ModelSpec, Slice
from knownat.errors import SchemaMismatch
from knownat.scoring.metrics import measure
from training.dataset import Vector

MOST_GROUPS = 50

Slices = Mapping[str, Mapping[str, Mapping[str, float]]]


def measure_slices(spec: ModelSpec, test: pa.Table, labels: Vector, scores: Vector) -> Slices:
    """Measure the model's metric, the mean label and the rows of each large enough group.

    Shape: column -> group -> measure. Of more than 50 groups the largest are kept; a group in which
    the metric is not defined has none.

    Raises
    ------
    SchemaMismatch
        If a slice names a column that the frame does not have.
    """
    if missing := [s.column for s in spec.slices if s.column not in test.column_names]:
        raise SchemaMismatch(f"Slices name {missing}; the frame has {test.column_names}.")
    return {s.column: _groups(spec, s, test[s.column], labels, scores) for s in spec.slices}


def _groups(
    spec: ModelSpec, wanted: Slice, column: pa.ChunkedArray, labels: Vector, scores: Vector
) -> Mapping[str, Mapping[str, float]]:
    encoded = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
    group = encoded.indices.to_numpy()
    sizes = np.bincount(group, minlength=len(encoded.dictionary))
    large = [g for g in np.argsort(-sizes, kind="stable")[:MOST_GROUPS] if sizes[g] >= wanted.min_rows]
    names = {
        g: "null" if (value := encoded.dictionary[int(g)].as_py()) is None else str(value) for g in large
    }
    found = {}
    for g in sorted(large, key=lambda g: names[g]):
        rows = group == g
        value = measure(spec.metric, labels[rows], scores[rows], quantile=spec.quantile)
        known = {} if np.isnan(value) else {spec.metric: value}
        found[names[g]] = {**known, "mean_label": float(labels[rows].mean()), "rows": float(rows.sum())}
    return found
