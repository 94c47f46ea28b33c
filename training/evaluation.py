"""Evidence on the test side: metrics with intervals, baselines, slices, calibration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from knownat.contract.model_spec import METRICS, ModelSpec
from knownat.contract.release import Interval
from knownat.errors import ConfigError
from knownat.scoring.metrics import Custom, intervals, weigh
from training.calibration import Group, calibration
from training.dataset import Vector
from training.leads import Lead, lead_over
from training.slices import Slices, measure_slices
from training.split import days


@dataclass(frozen=True)
class Evaluation:
    """What was measured on the test side; no verdict."""

    metrics: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, float]]
    leads: Mapping[str, Mapping[str, Lead]]
    """Over baselines whose gate asks how sure the lead is."""
    slices: Slices
    calibration: Sequence[Group]


def evaluate(
    spec: ModelSpec,
    test: pa.Table,
    *,
    labels: Vector,
    scores: Vector,
    baselines: Mapping[str, Vector],
    custom: Mapping[str, Custom] | None = None,
) -> Evaluation:
    """Measure the model and its baselines with every metric of the task, and those of its own.

    Raises
    ------
    ConfigError
        If a metric is not defined on the test side.
    """
    own = custom or {}
    found = measure_all(spec, test, labels=labels, scores=scores, custom=own)
    everywhere, when = np.ones(len(labels)), days(test)
    leads: dict[str, dict[str, Lead]] = {}
    for name, metric in asked_of_baselines(spec):
        leads.setdefault(name, {})[metric] = lead_over(
            spec, metric, labels, scores, baselines[name], blocks=when, custom=own
        )
    return Evaluation(
        metrics=found,
        baselines={
            name: {
                metric: weigh(metric, labels, guess, quantile=spec.quantile, custom=own)(everywhere)
                for metric in found
            }
            for name, guess in baselines.items()
        },
        leads=leads,
        slices=measure_slices(spec, test, labels, scores),
        calibration=[] if scores.ndim == 2 else calibration(labels, scores),
    )


def measure_all(
    spec: ModelSpec,
    test: pa.Table,
    *,
    labels: Vector,
    scores: Vector,
    custom: Mapping[str, Custom] | None = None,
) -> Mapping[str, Interval]:
    """Measure scores with every metric of the task, with intervals from drawing whole days again.

    Raises
    ------
    ConfigError
        If a metric is not defined on the test side.
    """
    names = [metric for metric, (_, tasks) in METRICS.items() if spec.task in tasks]
    names += list(custom or ())
    found = intervals(names, labels, scores, blocks=days(test), quantile=spec.quantile, custom=custom)
    if undefined := [metric for metric, interval in found.items() if np.isnan(interval.value)]:
        raise ConfigError(f"{spec.name}: the test side", [f"{undefined} are not defined on it"])
    return found


def asked_of_baselines(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """Name the baselines and metrics whose lead some gate wants to be sure of."""
    for gate in spec.gates:
        if gate.better_than is not None and gate.surely:
            yield gate.better_than, gate.metric
