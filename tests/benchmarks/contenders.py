"""Run contenders of a benchmark, each in a process of its own, and measure what they need.

A contender is a function ``module:name`` of keyword arguments that prepares (imports, opens) and
returns the call to measure. The child reports the CPU time of that call (user and system, all
threads, its own children included), the first time and again, and the peak of its resident memory.
"""

import importlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Measured:
    """CPU seconds of the first call and of the best later one, and the peak of memory in MB."""

    cold_cpu: float
    warm_cpu: float
    peak_mb: float
    start_mb: float


def measure(contender: str, *, repeat: int = 1, save: Path | None = None, **arguments: object) -> Measured:
    """Call a contender ``1 + repeat`` times in a child process; save what it returned last, if asked.

    Raises
    ------
    RuntimeError
        If the child fails; its last words come along.
    """
    work = {"contender": contender, "repeat": repeat, "save": save and str(save), "arguments": arguments}
    command = [sys.executable, "-m", "tests.benchmarks.contenders", json.dumps(work, default=str)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{contender} ended with {done.returncode}: {done.stderr[-2_000:]}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def cpu_seconds() -> float:
    """Return the user and system time of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def peak_mb() -> float:
    """Return the peak of this process's resident memory."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) / 1024


def _run(contender: str, repeat: int, save: str | None, arguments: dict[str, Any]) -> dict[str, float]:
    module, _, name = contender.partition(":")
    prepare: Callable[..., Callable[[], Any]] = getattr(importlib.import_module(module), name)
    call = prepare(**arguments)
    pa.default_memory_pool().release_unused()
    start_mb = peak_mb()
    costs: list[float] = []
    peak = 0.0
    result = None
    for _ in range(1 + repeat):
        result = None
        before = cpu_seconds()
        result = call()
        costs.append(cpu_seconds() - before)
        peak = peak or peak_mb()
    measured = {
        "cold_cpu": costs[0],
        "warm_cpu": min(costs[1:], default=costs[0]),
        "peak_mb": peak,
        "start_mb": start_mb,
    }
    if save and isinstance(result, pa.Table):
        pq.write_table(result, save)
    return measured


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(**json.loads(sys.argv[1]))) + "\n")
