"""LightGBM, fitted so that the same rows give the same bytes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import lightgbm
import numpy as np

from knownat.contract.model_spec import ModelSpec
from knownat.scoring.booster import Booster
from training.dataset import Dataset, Vector
from training.split import Rows

THREADS = 1
"""Part of what a release records: another number of threads gives other bytes."""

Rounds = Callable[[str, int, int], None]
"""Told after each boosting round: what is being done, rounds done, rounds at most."""


@dataclass(frozen=True)
class Fitted:
    """A booster as LightGBM's text, how many rounds it has, and what each column gained it."""

    model: bytes
    best_iteration: int
    importance: Mapping[str, float]
    learning: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """What the validation side lost after each round, by LightGBM's name of the loss."""

    def predict(self, matrix: Vector) -> Vector:
        """Predict with the library that will serve: shape (n,), or (n, classes)."""
        booster = Booster.from_bytes(self.model)
        try:
            return booster.predict(matrix)
        finally:
            booster.close()


def fit(data: Dataset, spec: ModelSpec, *, report: Rounds | None = None) -> Fitted:
    """Find the number of rounds on the validation side, then fit that many to all that was known.

    The label rows fitted to were all known by the cutoff, so the validation days, the newest and
    most like the future, are not lost to the model that serves.
    """
    params = parameters(spec, classes=int(data.labels.max()) + 1)
    rounds = spec.lightgbm.num_boost_round
    learning: dict[str, list[float]] = {}
    if spec.lightgbm.early_stopping_rounds:
        rounds, learning = _find_rounds(data, spec, params, report)
    booster = lightgbm.train(
        params,
        _side(data, data.fold.fit),
        num_boost_round=rounds,
        callbacks=_told(report, "fit", rounds),
    )
    gains = booster.feature_importance("gain", iteration=rounds)
    return Fitted(
        model=booster.model_to_string(num_iteration=rounds).encode(),
        best_iteration=rounds,
        importance={name: float(gain) for name, gain in zip(data.schema.names, gains, strict=True)},
        learning=learning,
    )


def parameters(spec: ModelSpec, *, classes: int) -> dict[str, int | float | str | bool]:
    """Join the model's own parameters with those that reproduction needs."""
    own: dict[str, dict[str, int | float | str | bool]] = {
        "binary": {"objective": "binary", "metric": "binary_logloss"},
        "regression": {"objective": "regression", "metric": "l2"},
        "multiclass": {"objective": "multiclass", "metric": "multi_logloss", "num_class": classes},
        "quantile": {"objective": "quantile", "metric": "quantile", "alpha": spec.quantile or 0.5},
    }
    task = own[spec.task]
    if spec.task == "regression" and spec.metric == "mae":
        task = {"objective": "regression_l1", "metric": "l1"}
    fixed = {
        "num_threads": THREADS,
        "deterministic": True,
        "force_col_wise": True,
        "seed": 1,
        "verbosity": -1,
    }
    return {**spec.lightgbm.params, **task, **fixed}


def _find_rounds(
    data: Dataset, spec: ModelSpec, params: dict[str, int | float | str | bool], report: Rounds | None
) -> tuple[int, dict[str, list[float]]]:
    train = _side(data, data.fold.train)
    found: dict[str, dict[str, list[float]]] = {}
    rounds = spec.lightgbm.num_boost_round
    stop = lightgbm.early_stopping(spec.lightgbm.early_stopping_rounds, verbose=False)
    booster = lightgbm.train(
        params,
        train,
        num_boost_round=rounds,
        valid_sets=[_side(data, data.fold.validation, reference=train)],
        valid_names=["validation"],
        callbacks=[
            stop,
            lightgbm.record_evaluation(found),
            *_told(report, "find the number of rounds", rounds),
        ],
    )
    learning = {metric: [float(v) for v in values] for metric, values in found["validation"].items()}
    return booster.best_iteration or rounds, learning


def _side(data: Dataset, rows: Rows, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
    return lightgbm.Dataset(
        np.ascontiguousarray(data.matrix[rows]),
        label=data.labels[rows],
        weight=None if data.weights is None else data.weights[rows],
        reference=reference,
        feature_name=list(data.schema.names),
        categorical_feature=list(data.schema.categorical),
    )


def _told(
    report: Rounds | None, stage: str, rounds: int
) -> list[Callable[[lightgbm.callback.CallbackEnv], None]]:
    if report is None:
        return []

    def tell(env: lightgbm.callback.CallbackEnv) -> None:
        report(stage, env.iteration + 1, rounds)

    return [tell]
