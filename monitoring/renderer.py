"""Evidently draws, our numbers speak: the one module that knows Evidently.

It is given small stand-ins to draw and scores measured on all rows. Left alone it chooses its method
by the number of rows, bins by width, and crashes on a column without values.
"""

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from evidently import (
    BinaryClassification,
    DataDefinition,
    Dataset,
    MulticlassClassification,
    Regression,
    Report,
)
from evidently.core.container import MetricContainer, MetricOrContainer
from evidently.core.metric_types import MetricId
from evidently.core.report import Context
from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.metrics import DataDriftTable
from evidently.legacy.model.widget import BaseWidgetInfo
from evidently.presets import ClassificationPreset, DataDriftPreset, DataSummaryPreset, RegressionPreset
from typing_extensions import override

from knownat.contract.columns import Numbers
from knownat.contract.model_spec import Task
from monitoring.summary import ColumnDrift
from monitoring.surrogates import Outcomes

Sample = Mapping[str, Sequence[str | None] | Numbers]

_METHOD = "knownat_psi"
_SHOWN_AS = "PSI by quantile"
_SUMMED_UP = 6
"""Of how many columns the figures are drawn one by one: each costs a seventh of a second."""
_FEWEST_OUTCOMES = 30
_CLASSES = ("binary", "multiclass")


class _MeasuredDrift(DataDriftPreset):
    """Evidently's drift preset with our numbers, without its verdict on the share that drifted."""

    @override
    def generate_metrics(self, context: Context) -> list[MetricOrContainer]:
        """Compute nothing: the numbers are there already."""
        return []

    @override
    def render(
        self,
        context: Context,
        child_widgets: list[tuple[MetricId | None, list[BaseWidgetInfo]]] | None = None,
    ) -> list[BaseWidgetInfo]:
        """Draw one row a column, with its figures folded below it."""
        table = DataDriftTable(
            columns=self.columns,
            stattest=self.method,
            per_column_stattest_threshold=self.per_column_threshold,
        )
        widgets: list[BaseWidgetInfo] = context.get_legacy_metric(table, None, None)[1]
        return widgets


def render_report(
    path: Path, *, window: Sample, baseline: Sample, measured: Sequence[ColumnDrift], when: datetime
) -> list[str]:
    """Write Evidently's HTML report and return the columns it shows.

    ``window`` and ``baseline`` hold at most a few thousand values a column; a column without a
    score, or without a value to draw on either side, is left out. With none left nothing is written.
    """
    shown = [drift for drift in measured if drift.psi is not None and _drawable(drift, window, baseline)]
    if not shown:
        return []
    _speak_for(shown)
    definition = DataDefinition(
        numerical_columns=[drift.column for drift in shown if drift.kind == "numeric"],
        categorical_columns=[drift.column for drift in shown if drift.kind == "category"],
    )
    drifted = _MeasuredDrift(
        columns=[drift.column for drift in shown],
        method=_METHOD,
        per_column_threshold={drift.column: drift.threshold for drift in shown},
    )
    report = Report([drifted, DataSummaryPreset(columns=_telling(shown))])
    # A constant column has no correlation, which Evidently asks for all the same.
    with np.errstate(divide="ignore", invalid="ignore"):
        snapshot = report.run(
            Dataset.from_pandas(_frame(window, shown), data_definition=definition),
            Dataset.from_pandas(_frame(baseline, shown), data_definition=definition),
            timestamp=when,
        )
    # A Path is accepted too, and nothing written.
    snapshot.save_html(str(path))
    return [drift.column for drift in shown]


def render_outcomes(path: Path, *, task: Task, window: Outcomes, baseline: Outcomes, when: datetime) -> bool:
    """Write Evidently's classification or regression report of labelled rows; tell whether there is one.

    ``baseline`` are rows of the release's own test. Too few rows, or one class only, make none.
    """
    sides = (window, baseline)
    if any(len(side.label) < _FEWEST_OUTCOMES for side in sides):
        return False
    if task in _CLASSES and any(len(np.unique(side.label)) < 2 for side in sides):
        return False
    definition, preset = _outcomes_of(task)
    frames = [_outcomes_frame(task, side) for side in sides]
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        # A model that never says yes at one half has no precision there; that is no news.
        warnings.filterwarnings("ignore", module="sklearn.metrics")
        datasets = [Dataset.from_pandas(frame, data_definition=definition) for frame in frames]
        snapshot = Report([preset]).run(*datasets, timestamp=when)
    snapshot.save_html(str(path))
    return True


def _outcomes_of(task: Task) -> tuple[DataDefinition, MetricContainer]:
    if task == "binary":
        binary = BinaryClassification(target="label", prediction_probas="score", pos_label=1)
        return DataDefinition(numerical_columns=[], classification=[binary]), ClassificationPreset()
    if task == "multiclass":
        several = MulticlassClassification(target="label", prediction_labels="score")
        columns = ["label", "score"]
        definition = DataDefinition(categorical_columns=columns, classification=[several])
        return definition, ClassificationPreset()
    number = Regression(target="label", prediction="score")
    return DataDefinition(numerical_columns=["label", "score"], regression=[number]), RegressionPreset()


def _outcomes_frame(task: Task, side: Outcomes) -> pd.DataFrame:
    columns: dict[str, npt.NDArray[np.generic]] = {"label": side.label, "score": side.score}
    whole = {"binary": ("label",), "multiclass": ("label", "score")}.get(task, ())
    return pd.DataFrame({name: v.astype(np.int64) if name in whole else v for name, v in columns.items()})


def _telling(shown: Sequence[ColumnDrift]) -> list[str]:
    """Name the columns worth figures of their own: the score, what drifted, what the model leans on."""
    ordered = sorted(shown, key=lambda d: (d.column != "score", not d.drifted, -d.weight, -d.importance))
    return [drift.column for drift in ordered[:_SUMMED_UP]]


def _speak_for(measured: Sequence[ColumnDrift]) -> None:
    found = {drift.column: (drift.psi, drift.drifted) for drift in measured}

    def look_up(reference: pd.Series, _current: pd.Series, _type: ColumnType, _threshold: float) -> object:
        return found[str(reference.name)]

    kinds = [ColumnType.Numerical, ColumnType.Categorical]
    register_stattest(StatTest(_METHOD, _SHOWN_AS, kinds), look_up)


def _drawable(drift: ColumnDrift, *samples: Sample) -> bool:
    return all(drift.column in sample and _series(drift, sample).notna().any() for sample in samples)


def _frame(sample: Sample, shown: Sequence[ColumnDrift]) -> pd.DataFrame:
    return pd.DataFrame({drift.column: _series(drift, sample) for drift in shown})


def _series(drift: ColumnDrift, sample: Sample) -> "pd.Series[float] | pd.Series[str]":
    values = list(sample[drift.column])
    if drift.kind == "numeric":
        return pd.Series(values, dtype="float64")
    return pd.Series(values, dtype="object")
