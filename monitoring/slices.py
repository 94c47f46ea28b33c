"""The model's metric group by group, so that a good mean hides no bad part."""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.model_spec import METRICS
from knownat.contract.release import Interval, Manifest
from monitoring.metrics import Floats, measure_all
from monitoring.summary import SliceChange
from monitoring.usual import Rows

_FALSE_ALARMS = 0.05
_HALF_WIDTH = 1.959964
"""Half the width of a 95 % interval in standard errors."""


def measure_slices(
    manifest: Manifest, rows: pa.Table, labels: Floats, scores: Floats
) -> tuple[SliceChange, ...]:
    """Measure the metric in every group of the declared slices that has enough rows; the worst come first.

    ``rows`` are the judged predictions, in the order of ``labels``. A slice names a model column, a
    key or an input; one that the log does not have is left out.
    """
    found = list(_groups(manifest, rows))
    changes = [
        _change(manifest, column, group, labels[at], scores[at], groups=len(found))
        for column, group, at in found
    ]
    known = [change for change in changes if change is not None]
    return tuple(sorted(known, key=lambda c: (not c.fell, -(c.drop or 0.0), c.column, c.group)))


def _groups(manifest: Manifest, rows: pa.Table) -> Iterator[tuple[str, str, Rows]]:
    spec = manifest.spec
    for wanted in spec.slices:
        names = (wanted.column, f"key__{wanted.column}", f"input__{wanted.column}")
        name = next((name for name in names if name in rows.column_names), None)
        if name is None:
            continue
        encoded = pc.dictionary_encode(rows[name].combine_chunks(), null_encoding="encode")
        place, fewest = encoded.indices.to_numpy(), min(wanted.min_rows, spec.monitoring.min_rows)
        for number, value in enumerate(encoded.dictionary.to_pylist()):
            at = np.flatnonzero(place == number)
            if len(at) >= fewest:
                yield wanted.column, "null" if value is None else str(value), at


def _change(
    manifest: Manifest, column: str, group: str, labels: Floats, scores: Floats, *, groups: int
) -> SliceChange | None:
    spec = manifest.spec
    found = measure_all([spec.metric], labels, scores, quantile=spec.quantile).get(spec.metric)
    if found is None:
        return None
    was = manifest.slices.get(column, {}).get(group, {}).get(spec.metric)
    drop = None if not was else _worse_by(spec.metric, found.value, was)
    return SliceChange(
        column=column,
        group=group,
        window=found,
        release=was,
        mean_label=float(labels.mean()) if scores.ndim == 1 else None,
        mean_score=float(scores.mean()) if scores.ndim == 1 else None,
        drop=drop,
        fell=drop is not None
        and was is not None
        and _worse_by(spec.metric, _kindest(spec.metric, found, groups), was)
        > spec.monitoring.max_metric_drop,
    )


def _worse_by(metric: str, value: float, was: float) -> float:
    return (was - value if METRICS[metric][0] == "higher" else value - was) / abs(was)


def _kindest(metric: str, found: Interval, groups: int) -> float:
    """Return the better end of an interval wide enough for so many groups at once (Bonferroni)."""
    wider = NormalDist().inv_cdf(1 - _FALSE_ALARMS / groups / 2) / _HALF_WIDTH
    if METRICS[metric][0] == "higher":
        return found.value + wider * (found.high - found.value)
    return found.value - wider * (found.value - found.low)
