"""What a run under load measured, printed as one line of JSON and kept where KNOWNAT_LOAD_REPORT says."""

import json
import os
from pathlib import Path

import psutil

from tests.load.clients import Outcome
from tests.load.processes import busy_share


def tell(what: str, outcome: Outcome, times_before: object, **more: object) -> None:
    """Keep the figures of a run: counts, latencies in ms, and how busy the machine was meanwhile."""
    after = psutil.cpu_times()
    line = {
        "what": what,
        "seconds": round(outcome.seconds, 1),
        "answers": {str(status): times for status, times in sorted(outcome.statuses.items())},
        "broken": outcome.broken,
        "p50_ms": round(outcome.quantile(0.5) * 1e3, 2),
        "p99_ms": round(outcome.quantile(0.99) * 1e3, 2),
        "p999_ms": round(outcome.quantile(0.999) * 1e3, 2),
        "machine_busy": round(busy_share(times_before, after), 2),
        "machine_steal": round(
            (after.steal - times_before.steal) / max(1e-9, sum(after) - sum(times_before)), 3
        ),
        "machine_load": round(os.getloadavg()[0], 1),
        **more,
    }
    if path := os.environ.get("KNOWNAT_LOAD_REPORT"):
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")
