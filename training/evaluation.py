"""Evidence on the test side: metrics with intervals, baselines, slices, calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knownat.contract.model_spec import METRICS, ModelSpec
from knownat.contract.release import Interval
from knownat.errors import ConfigError
from knownat.scoring.metrics import intervals, measure
from training.calibration import Group, calibration
from training.dataset import Vector
from training.examples import EVENT_TIMESTAMP
from training.slices import Slices, measure_slices
from training.split import microseconds

_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Evaluation:
    """What was measured on the test side; no verdict."""

    metrics: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, float]]
    slices: Slices
    calibration: Sequence[Group]


def evaluate(
    spec: ModelSpec, test: pa.Table, *, labels: Vector, scores: Vector, baselines: Mapping[str, Vector]
) -> Evaluation:
    """Measure the model and its baselines with every metric of the task.

    Raises
    ------
    ConfigError
        If a metric is not defined on the test side.
    """
    found = measure_all(spec, test, labels=labels, scores=scores)
    return Evaluation(
        metrics=found,
        baselines={
            name: {metric: measure(metric, labels, guess, quantile=spec.quantile) for metric in found}
            for name, guess in baselines.items()
        },
        slices=measure_slices(spec, test, labels, scores),
        calibration=[] if scores.ndim == 2 else calibration(labels, scores),
    )


def measure_all(spec: ModelSpec, test: pa.Table, *, labels: Vector, scores: Vector) -> Mapping[str, Interval]:
    """Measure scores with every metric of the task, with intervals from drawing whole days again.

    Raises
    ------
    ConfigError
        If a metric is not defined on the test side.
    """
    names = [metric for metric, (_, tasks) in METRICS.items() if spec.task in tasks]
    found = intervals(names, labels, scores, blocks=days(test), quantile=spec.quantile)
    if undefined := [metric for metric, interval in found.items() if np.isnan(interval.value)]:
        raise ConfigError(f"{spec.name}: the test side", [f"{undefined} are not defined on it"])
    return found


def days(questions: pa.Table) -> npt.NDArray[np.int64]:
    """The day, in UTC, on which each question was asked."""
    return microseconds(questions[EVENT_TIMESTAMP]) // _DAY_US
