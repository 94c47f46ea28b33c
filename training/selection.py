"""Which questions have no answer, and where they are more common: what a model can say nothing of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.model_spec import ModelSpec
from training.examples import LABEL

MOST_GROUPS = 12


@dataclass(frozen=True)
class Part:
    """A group of questions: how many, and how many of them have no answer."""

    rows: int
    unanswered: int

    @property
    def share(self) -> float:
        """The share without an answer."""
        return self.unanswered / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Selection:
    """All questions, and those of each group of the sliced keys and inputs, the least answered first."""

    whole: Part
    groups: Mapping[str, Mapping[str, Part]]


def measure_selection(spec: ModelSpec, asked: pa.Table) -> Selection:
    """Count the questions that never had an answer; features have no say, they were not joined to them.

    Of each sliced column the groups of at least ``min_rows`` questions are counted, twelve at most.
    """
    without = np.asarray(pc.is_null(asked[LABEL]))
    groups = {
        each.column: _groups(asked[each.column], without, each.min_rows)
        for each in spec.slices
        if each.column in asked.column_names
    }
    return Selection(Part(len(without), int(without.sum())), groups if without.any() else {})


def _groups(column: pa.ChunkedArray, without: np.ndarray, fewest: int) -> dict[str, Part]:
    encoded = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
    place = encoded.indices.to_numpy()
    names = ["null" if value is None else str(value) for value in encoded.dictionary.to_pylist()]
    rows, unanswered = (
        np.bincount(place, weights=weights, minlength=len(names)) for weights in (None, without.astype(float))
    )
    found = [
        (name, Part(int(rows[i]), int(unanswered[i]))) for i, name in enumerate(names) if rows[i] >= fewest
    ]
    found.sort(key=lambda item: (-item[1].share, item[0]))
    return dict(found[:MOST_GROUPS])
