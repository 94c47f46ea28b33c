"""What a model must beat to be worth its keep, fitted to the same rows and judged on the same ones."""

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from knownat.contract.model_spec import Baseline, ModelSpec
from training.dataset import Dataset, Vector
from training.fit import fit

logger = logging.getLogger(__name__)

_LARGEST_SCALED = 10.0
_ITERATIONS = 200


def predict_baselines(data: Dataset, spec: ModelSpec) -> dict[str, Vector]:
    """Fit each baseline the model names and predict the test side."""
    return {name: _BASELINES[name](data, spec) for name in spec.baselines}


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
        model.fit(inputs.of(data.matrix[data.fold.fit]), data.labels[data.fold.fit])
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
