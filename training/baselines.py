"""What a model must beat to be worth its keep, fitted to the same rows and judged on the same ones."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from knownat.contract.model_spec import Baseline, ModelSpec
from training.dataset import Dataset, Vector
from training.examples import EVENT_TIMESTAMP, LABEL, LABEL_TIMESTAMP
from training.fit import fit

logger = logging.getLogger(__name__)

_LARGEST_SCALED = 10.0
_ITERATIONS = 200


def predict_baselines(data: Dataset, spec: ModelSpec, questions: pa.Table) -> dict[str, Vector]:
    """Fit each baseline the model names and predict the test side; ``questions`` has a row a data row."""
    return {
        name: _last(data, spec, questions) if name == "last" else _BASELINES[name](data, spec)
        for name in spec.baselines
    }


def _last(data: Dataset, spec: ModelSpec, questions: pa.Table) -> Vector:
    """Predict from the last answer of the same subject that was known at the question.

    A number is predicted as it is, and the mean of all where there is none yet. Of classes the shares
    are predicted that followed such an answer among the rows that were fitted to.
    """
    before = last_known_answers(questions, spec.last_value_keys or tuple(spec.examples.keys))
    test, fitted = data.fold.test, data.fold.fit
    if spec.task not in ("binary", "multiclass"):
        return np.where(np.isnan(before[test]), data.labels[fitted].mean(), before[test])
    classes = int(data.labels.max()) + 1
    # A row a last answer, the first for none; a column a class that followed it.
    state = np.nan_to_num(before, nan=-1).astype(np.int64) + 1
    counted = np.zeros((classes + 1, max(classes, 2)))
    np.add.at(counted, (state[fitted], data.labels[fitted].astype(np.int64)), 1.0)
    overall = counted.sum(axis=0) / counted.sum()
    shares = (counted + overall) / (counted.sum(axis=1, keepdims=True) + 1)
    return np.asarray(shares[state[test]][:, 1] if spec.task == "binary" else shares[state[test]])


def last_known_answers(questions: pa.Table, keys: Sequence[str]) -> Vector:
    """Return of each question the newest answer of the same keys that was known when it was asked."""
    asked = pl.DataFrame(questions.select(list(dict.fromkeys([*keys, EVENT_TIMESTAMP])))).with_row_index(
        "row"
    )
    told = pl.DataFrame(questions.select(list(dict.fromkeys([*keys, LABEL, LABEL_TIMESTAMP]))))
    found = asked.sort(EVENT_TIMESTAMP).join_asof(
        told.drop_nulls([LABEL, LABEL_TIMESTAMP]).sort(LABEL_TIMESTAMP),
        left_on=EVENT_TIMESTAMP,
        right_on=LABEL_TIMESTAMP,
        by=list(keys),
        check_sortedness=False,
    )
    return np.asarray(found.sort("row")[LABEL].to_numpy(), dtype=np.float64)


def _prior(data: Dataset, spec: ModelSpec) -> Vector:
    """Predict the mean of what was known: the base rate, the class shares, the mean or the quantile."""
    known, rows = data.labels[data.fold.fit], len(data.fold.test)
    if spec.task == "multiclass":
        classes = int(data.labels.max()) + 1
        shares = np.bincount(known.astype(np.int64), minlength=classes) / len(known)
        return np.tile(shares, (rows, 1))
    value = np.quantile(known, spec.quantile) if spec.quantile is not None else known.mean()
    return np.full(rows, float(value))


def _median(data: Dataset, _: ModelSpec) -> Vector:
    return np.full(len(data.fold.test), float(np.median(data.labels[data.fold.fit])))


def _static(data: Dataset, spec: ModelSpec) -> Vector:
    """Fit the same booster to what is known without a feature store: the static columns."""
    static = data.only(spec.static_columns)
    return fit(static, spec).predict(static.matrix[data.fold.test])


def _logistic(data: Dataset, _: ModelSpec) -> Vector:
    """Fit a logistic regression to every feature, imputed, scaled, categories and nulls as indicators."""
    inputs = Numbers.learn(data)
    model = LogisticRegression(C=1.0, max_iter=_ITERATIONS, tol=1e-4)
    with warnings.catch_warnings():
        # Said below, in a line that names what was stopped.
        warnings.simplefilter("ignore", ConvergenceWarning)
        rows = data.fold.fit
        weights = None if data.weights is None else data.weights[rows]
        model.fit(inputs.of(data.matrix[rows]), data.labels[rows], sample_weight=weights)
    if model.n_iter_.max() >= _ITERATIONS:
        logger.warning("The logistic baseline was stopped after %d iterations.", _ITERATIONS)
    shares = np.asarray(model.predict_proba(inputs.of(data.matrix[data.fold.test])), dtype=np.float64)
    return shares[:, 1] if shares.shape[1] == 2 else shares


@dataclass(frozen=True)
class Numbers:
    """How columns become numbers of like size, learned from the rows a model is fitted to."""

    categories: Mapping[int, int]
    medians: Vector
    means: Vector
    scales: Vector
    with_nulls: tuple[int, ...]

    @classmethod
    def learn(cls, data: Dataset) -> "Numbers":
        """Learn medians, means and scales; a column with nulls gets an indicator of them."""
        schema = data.schema
        categories = {i: len(schema.columns[i].categories or ()) for i in schema.categorical}
        numeric = data.matrix[data.fold.fit].copy()
        numeric[:, list(categories)] = 0.0
        empty = np.isnan(numeric)
        # A column with nothing but nulls has no median.
        numeric[:, empty.all(axis=0)] = 0.0
        medians = np.nanmedian(numeric, axis=0)
        numeric = np.where(np.isnan(numeric), medians, numeric)
        scales = numeric.std(axis=0)
        with_nulls = tuple(int(i) for i in np.flatnonzero(empty.any(axis=0)))
        return cls(categories, medians, numeric.mean(axis=0), np.where(scales > 0, scales, 1.0), with_nulls)

    def of(self, matrix: Vector) -> npt.NDArray[np.float32]:
        """Return imputed, scaled and clipped numbers, then indicators of nulls and of categories."""
        numeric = matrix.copy()
        numeric[:, list(self.categories)] = 0.0
        empty = np.isnan(numeric[:, self.with_nulls]).astype(np.float64)
        numeric = np.where(np.isnan(numeric), self.medians, numeric)
        scaled = (numeric - self.means) / self.scales
        # One impossible reading must not outweigh a year of possible ones.
        np.clip(scaled, -_LARGEST_SCALED, _LARGEST_SCALED, out=scaled)
        indicators = [
            (matrix[:, i, None] == np.arange(count)).astype(np.float64)
            for i, count in self.categories.items()
        ]
        # Half the precision is plenty for numbers of size one, and half the time.
        return np.hstack([scaled, empty, *indicators], dtype=np.float32, casting="same_kind")


_BASELINES: Mapping[Baseline, Callable[[Dataset, ModelSpec], Vector]] = {
    "prior": _prior,
    "median": _median,
    "static": _static,
    "logistic": _logistic,
}
