"""What a model costs to keep and to ask: bytes, and CPU time a row."""

import time
from collections.abc import Iterable

import numpy as np

from knownat.scoring.booster import Booster
from training.dataset import Vector
from training.fit import Fitted

_ROWS = 1_000
_RUNS = 5
_BYTES_A_MB = 1_000_000


def measure_costs(fitted: Fitted, matrix: Vector, wanted: Iterable[str]) -> dict[str, float]:
    """Measure what is wanted of ``size_mb`` and ``latency_us``.

    Latency is the CPU time of scoring one row on LightGBM's fast path, the best of five runs over up to
    a thousand rows: whatever else the machine does makes a run longer, never shorter.
    """
    measured = {
        "size_mb": lambda: len(fitted.model) / _BYTES_A_MB,
        "latency_us": lambda: _latency(fitted, matrix),
    }
    return {name: float(measured[name]()) for name in dict.fromkeys(wanted)}


def _latency(fitted: Fitted, matrix: Vector) -> float:
    rows = np.ascontiguousarray(matrix[:_ROWS])
    booster = Booster.from_bytes(fitted.model)
    try:
        return min(_run(booster, rows) for _ in range(_RUNS)) / len(rows) * 1e6
    finally:
        booster.close()


def _run(booster: Booster, rows: Vector) -> float:
    started = time.process_time()
    for row in rows:
        booster.predict_one(row)
    return time.process_time() - started
