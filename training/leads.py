"""By how much one set of scores is better than another, on the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass

from knownat.contract.model_spec import ModelSpec
from knownat.scoring.metrics import Custom, compare_paired, weigh
from training.dataset import Vector
from training.split import Rows


@dataclass(frozen=True)
class Lead:
    """By how much a model is better than another on the same rows, with its 95 % interval."""

    value: float
    low: float
    high: float


def lead_over(
    spec: ModelSpec,
    metric: str,
    labels: Vector,
    scores: Vector,
    theirs: Vector,
    *,
    blocks: Rows,
    custom: Mapping[str, Custom],
) -> Lead:
    """Measure by how much scores are better than others by one metric, on the same rows."""
    ours, other = (
        weigh(metric, labels, given, quantile=spec.quantile, custom=custom) for given in (scores, theirs)
    )
    value, low, high = compare_paired(ours, other, blocks=blocks)
    if spec.direction_of(metric) == "lower":
        value, low, high = -value, -high, -low
    return Lead(value, low, high)
