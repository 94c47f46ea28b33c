"""The jobs of a window, each with its own file, and what each was made from.

A job is done again only if what it reads changed: a run from cron costs what is new.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from monitoring.files import replace_text
from monitoring.performance import join_labels
from monitoring.source import Evidence
from monitoring.summary import Summary

FILE = "inputs.json"


class Job(StrEnum):
    """What is done for a window."""

    JUDGE = "judge"
    """Faults, drift and performance, into ``summary.json``."""
    SKEW = "skew"
    """What was served beside what training would have seen, into ``skew.json``."""
    CHARTS = "charts"
    """Evidently's report, into ``report.html``."""
    PAGES = "pages"
    """The page of the window; those of the model and of all follow after every run."""


ALL_JOBS = tuple(Job)


@dataclass(frozen=True)
class Marks:
    """Names of what jobs read: two runs with the same mark write the same numbers.

    Nothing in a log is ever changed, so counts and newest times stand for its rows and labels.
    """

    rows: str
    """Of the release and the window's predictions."""
    all: str
    """Of those, and of the labels known by now."""

    @classmethod
    def of(cls, evidence: Evidence, *, now: datetime) -> Self:
        """Name what a window is judged from."""
        wait = timedelta(hours=evidence.release.manifest.spec.monitoring.label_wait_hours)
        asked = evidence.predictions["event_timestamp"]
        labelled = join_labels(evidence.predictions, evidence.labels, now=now)
        rows = {
            "format": Summary.model_fields["format"].default,
            "release": evidence.release.digest,
            "rows": evidence.predictions.num_rows,
            "newest": str(pc.max(evidence.predictions["logged_at"]).as_py()),
            "other_rows": sorted(evidence.other_rows.items()),
        }
        labels = {
            "labels": labelled.num_rows,
            "of": str(pc.sum(labelled["label"]).as_py()),
            "matured": pc.sum(pc.less_equal(asked, pa.scalar(now - wait, asked.type))).as_py(),
        }
        return cls(_digest(rows), _digest({**rows, **labels}))

    def of_job(self, job: Job) -> str:
        """Name what one job reads."""
        return self.rows if job is Job.SKEW else self.all


def _digest(told: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def read_marks(folder: Path) -> dict[str, str]:
    """Read what each job of a window was last made from; nothing where that cannot be read."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(job): str(mark) for job, mark in found.items()} if isinstance(found, dict) else {}


def write_marks(folder: Path, marks: dict[str, str]) -> None:
    """Write down what each job of a window was made from."""
    replace_text(folder / FILE, json.dumps(marks, indent=1, sort_keys=True))
