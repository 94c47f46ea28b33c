"""Folds in time, all before the cutoff: each is fitted to what was known when its validation days began."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import lightgbm
import numpy as np

from knownat.clock import to_us
from knownat.contract.model_spec import ModelSpec
from knownat.errors import ConfigError
from training.dataset import Dataset, Vector
from training.examples import EVENT_TIMESTAMP, LABEL_TIMESTAMP
from training.pipeline import Prepared
from training.split import Rows, microseconds

Params = dict[str, int | float | str | bool]


@dataclass(frozen=True)
class TimeFold:
    """Row numbers of one fold; nothing in ``train`` was asked or answered after ``validation`` begins."""

    train: Rows
    validation: Rows


def folds_before_cutoff(prepared: Prepared, count: int) -> list[TimeFold]:
    """Cut the days before the cutoff into folds of the declared validation length, the oldest first.

    The gap of the declaration lies before each, as before the test, and no test row is in any of them.

    Raises
    ------
    ConfigError
        If a fold has too little before it, or the declaration's days hold none of its questions.
    """
    spec, fit = prepared.spec, prepared.data.fold.fit
    asked, known = (
        microseconds(prepared.joined.frame[name])[fit] for name in (EVENT_TIMESTAMP, LABEL_TIMESTAMP)
    )
    found, gap, width = [], spec.time.gap, timedelta(days=spec.time.validation_days)
    for number in range(count):
        begin = spec.time.cutoff - (count - number) * width
        inside = (asked >= to_us(begin)) & (asked < to_us(begin + width))
        before = (asked < to_us(begin - gap)) & (known <= to_us(begin))
        found.append(TimeFold(fit[before], fit[inside]))
    if problems := list(_problems(found, prepared)):
        raise ConfigError(f"{spec.name}: {count} folds of {spec.time.validation_days} days", problems)
    return found


def _problems(folds: list[TimeFold], prepared: Prepared) -> Iterator[str]:
    labels = prepared.data.labels
    for number, fold in enumerate(folds, start=1):
        for side, rows in (("training", fold.train), ("validation", fold.validation)):
            if not len(rows):
                yield f"fold {number}: its {side} side has no answered question; ask for fewer folds"
            elif prepared.spec.task == "binary" and len(np.unique(labels[rows])) == 1:
                yield f"fold {number}: the answers of its {side} side are all one; ask for fewer folds"


class FoldData:
    """One fold's rows in LightGBM's own form, binned once for many fits."""

    def __init__(self, data: Dataset, fold: TimeFold) -> None:
        self.fold = fold
        self.labels = data.labels[fold.validation]
        self._matrix = np.ascontiguousarray(data.matrix[fold.validation])
        self._train = _side(data, fold.train)
        self._validation = _side(data, fold.validation, reference=self._train)

    def scores(self, params: Params, spec: ModelSpec) -> tuple[Vector, int]:
        """Fit with early stopping and score the validation rows; also the rounds that were best."""
        callbacks: list[Callable[..., object]] = []
        if spec.lightgbm.early_stopping_rounds:
            callbacks.append(lightgbm.early_stopping(spec.lightgbm.early_stopping_rounds, verbose=False))
        booster = lightgbm.train(
            params,
            self._train,
            num_boost_round=spec.lightgbm.num_boost_round,
            valid_sets=[self._validation],
            callbacks=callbacks,
        )
        rounds = booster.best_iteration or spec.lightgbm.num_boost_round
        return np.asarray(booster.predict(self._matrix, num_iteration=rounds), dtype=np.float64), rounds


def _side(data: Dataset, rows: Rows, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
    return lightgbm.Dataset(
        np.ascontiguousarray(data.matrix[rows]),
        label=data.labels[rows],
        weight=None if data.weights is None else data.weights[rows],
        reference=reference,
        feature_name=list(data.schema.names),
        categorical_feature=list(data.schema.categorical),
        # What may be dropped before binning depends on a parameter that a trial may change.
        params={"feature_pre_filter": False, "verbosity": -1},
        free_raw_data=False,
    )
