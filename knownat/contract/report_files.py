"""The one file beside a report that holds values row by row: it is kept no longer than the log's rows."""

from pathlib import Path

from knownat.contract.workspace import Workspace

TRAINING_VALUES = "training_values.parquet"
"""A model's columns as training would have seen them, by ``prediction_id`` and ``event_timestamp``, where
what was served differs for a cause to mend."""


def training_values(workspace: Workspace, model: str) -> list[Path]:
    """List the files of values beside a model's windows, oldest first."""
    return sorted((workspace.reports / model).glob(f"*/{TRAINING_VALUES}"))
