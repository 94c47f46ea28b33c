"""Calibration: what was predicted beside what happened, in groups of equal size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.dataset import Vector


@dataclass(frozen=True)
class Group:
    """Rows of neighbouring scores: their mean score, the mean of their labels, and how many."""

    predicted: float
    observed: float
    rows: int


def calibration(labels: Vector, scores: Vector, *, groups: int = 20) -> Sequence[Group]:
    """Group rows by rising score into at most ``groups`` groups of nearly equal size."""
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, min(groups, len(order)) or 1)
    return [
        Group(float(scores[part].mean()), float(labels[part].mean()), len(part))
        for part in parts
        if len(part)
    ]
