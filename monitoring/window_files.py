"""What lies in a window's folder, and reading it back."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from knownat.contract.report_files import TRAINING_VALUES
from monitoring.files import staged_beside
from monitoring.skew_report import SkewReport
from monitoring.summary import Summary

SUMMARY = "summary.json"
SKEW = "skew.json"
PAGE = "page.html"
REPORT = "report.html"
"""Evidently's, of the columns."""
OUTCOMES = "performance.html"
"""Evidently's, of the labelled rows."""
INDEX = "index.html"


def window_folders(reports: Path, model: str) -> Iterator[Path]:
    """List the folders of a model's judged windows, oldest first."""
    return (path.parent for path in sorted((reports / model).glob(f"*/{SUMMARY}")))


def read_summary(folder: Path) -> Summary | None:
    """Read what a window's judgement said; None if it cannot be read and has to be judged again."""
    try:
        return Summary.model_validate_json((folder / SUMMARY).read_bytes())
    except (OSError, ValidationError):
        return None


def read_skew(folder: Path) -> SkewReport | None:
    """Read what the comparison with training found; None if there was none."""
    try:
        return SkewReport.model_validate_json((folder / SKEW).read_bytes())
    except (OSError, ValidationError):
        return None


def read_truth(folder: Path) -> pa.Table | None:
    """Read what training would have seen of the compared rows; None if nothing had to be mended."""
    try:
        return pq.read_table(folder / TRAINING_VALUES)
    except (OSError, pa.ArrowException):
        return None


def write_truth(folder: Path, truth: pa.Table | None) -> None:
    """Keep what training would have seen of the judged version's rows, for the blame of a later look."""
    file = folder / TRAINING_VALUES
    if truth is None:
        file.unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    staged = staged_beside(file)
    pq.write_table(truth.drop(["version"]), staged, compression="zstd")
    staged.replace(file)
