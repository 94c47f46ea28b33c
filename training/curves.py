"""What a release's hold-out predictions and learning look like, as drawings; made from its files alone."""

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.release import HOLDOUT, Release
from training.calibration import calibration
from training.contents import LEARNING
from training.dataset import Vector
from training.drawing import Line, draw_lines
from training.examples import LABEL

_POINTS = 200

Points = list[tuple[float, float]]


def draw_release(release: Release) -> dict[str, str]:
    """Draw what there is to draw of a release: file name -> SVG."""
    return dict(_drawings(release))


def learning_of(release: Release) -> dict[str, list[float]]:
    """Return the validation side's loss after each round; empty without early stopping."""
    if LEARNING not in release.manifest.files:
        return {}
    return {str(k): list(map(float, v)) for k, v in json.loads(release.read_bytes(LEARNING)).items()}


def ranking_curves(labels: Vector, scores: Vector) -> tuple[Points, Points]:
    """Trace what a threshold on a score gives: false against true positives, recall against precision."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(labels[order])[ends]
    misses = np.cumsum(1 - labels[order])[ends]
    yes, no = max(float(hits[-1]), 1.0), max(float(misses[-1]), 1.0)
    roc = [(0.0, 0.0), *zip((misses / no).tolist(), (hits / yes).tolist(), strict=True)]
    found = zip((hits / yes).tolist(), (hits / (hits + misses)).tolist(), strict=True)
    return _thin(roc), _thin(list(found))


def _drawings(release: Release) -> Iterator[tuple[str, str]]:
    name = f"{release.manifest.model} {release.manifest.version}"
    for loss, values in learning_of(release).items():
        line = Line(loss, _thin([(float(r), v) for r, v in enumerate(values, start=1)]))
        yield (
            "learning.svg",
            draw_lines([line], label=f"Learning of {name}", x_title="round", y_title="validation loss"),
        )
    if HOLDOUT not in release.manifest.files:
        return
    held_out = pq.read_table(pa.BufferReader(release.read_bytes(HOLDOUT)))
    labels, scores = (np.asarray(held_out[column].to_numpy(), dtype=object) for column in (LABEL, "score"))
    if release.manifest.spec.task == "multiclass":
        return
    labels, scores = labels.astype(np.float64), scores.astype(np.float64)
    groups = [(group.predicted, group.observed) for group in calibration(labels, scores)]
    low, high = min(min(point) for point in groups), max(max(point) for point in groups)
    ideal = Line("as it happened", [(low, low), (high, high)], dashed=True)
    yield (
        "calibration.svg",
        draw_lines(
            [Line("model", groups), ideal],
            label=f"Calibration of {name}",
            x_title="predicted",
            y_title="observed",
        ),
    )
    if release.manifest.spec.task == "binary":
        yield from _ranking(labels, scores, name)


def _ranking(labels: Vector, scores: Vector, name: str) -> Iterator[tuple[str, str]]:
    roc, precision = ranking_curves(labels, scores)
    chance = Line("chance", [(0.0, 0.0), (1.0, 1.0)], dashed=True)
    yield (
        "roc.svg",
        draw_lines(
            [Line("model", roc), chance],
            label=f"ROC curve of {name}",
            x_title="false positives, share",
            y_title="true positives, share",
        ),
    )
    base = float(labels.mean())
    yield (
        "precision_recall.svg",
        draw_lines(
            [Line("model", precision), Line("base rate", [(0.0, base), (1.0, base)], dashed=True)],
            label=f"Precision and recall of {name}",
            x_title="recall",
            y_title="precision",
            y_range=(0.0, 1.0),
        ),
    )


def _thin(points: Points) -> Points:
    if len(points) <= _POINTS:
        return points
    kept = np.linspace(0, len(points) - 1, _POINTS).astype(np.int64)
    return [points[int(place)] for place in kept]
