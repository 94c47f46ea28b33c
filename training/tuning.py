"""Better parameters, looked for on folds before the cutoff; what came after it is never touched."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from knownat.contract.model_spec import ModelSpec, read_spec
from knownat.contract.workspace import Workspace
from knownat.scoring.metrics import measure
from training.fit import parameters
from training.folds import FoldData, Params, folds_before_cutoff
from training.pipeline import Prepared, Progress, prepare

if TYPE_CHECKING:
    import optuna

_SMALLEST_LEAF, _LARGEST_LEAF = 5, 2_000


@dataclass(frozen=True)
class Tuned:
    """What was found: parameters beside the declared ones, both measured on the same folds."""

    model: str
    metric: str
    direction: str
    trials: int
    """Finished ones of this study, those of earlier runs too."""
    pruned: int
    declared: Sequence[float]
    """Of each fold, the metric with the declared parameters."""
    best: Sequence[float]
    """Of each fold, with the best ones."""
    params: Params
    """The declared parameters, the best trial's in their place."""
    study: str

    @property
    def better(self) -> bool:
        """Whether the best trial's mean is better than that of the declared parameters."""
        gain = float(np.mean(self.best) - np.mean(self.declared))
        return gain > 0 if self.direction == "higher" else gain < 0


def tune(
    workspace: Workspace,
    model: str,
    *,
    trials: int,
    folds: int,
    seed: int = 1,
    storage: Path | None = None,
    progress: Progress,
) -> Tuned:
    """Search until a study has so many finished trials; one that was stopped goes on where it stopped.

    The same data, declaration, folds and seed give the same trials, in one run or in many. A trial whose
    first folds are worse than the middle of those before it is given up.

    Raises
    ------
    ConfigError, RepoError, RowsNotConserved
        If the declaration cannot be used, the features cannot be joined, or there is no room for the folds.
    """
    prepared = prepare(workspace, read_spec(workspace.model_file(model)), progress)
    file = storage or workspace.home / "tuning" / f"{model}.db"
    return search(prepared, file, trials=trials, folds=folds, seed=seed, progress=progress)


def search(
    prepared: Prepared, file: Path, *, trials: int, folds: int, seed: int, progress: Progress
) -> Tuned:
    """Search on questions that were joined already; see :func:`tune`."""
    spec = prepared.spec
    data = [FoldData(prepared.data, fold) for fold in folds_before_cutoff(prepared, folds)]
    study = _open_study(file, spec, name=f"{spec.name}-{_digest(prepared, folds)}-{seed}")
    what = _Trials(prepared, data)
    progress("fit the declared parameters", 0, trials)
    declared = what.declared(study)
    while (done := len(_finished(study))) < trials:
        progress(f"trial {done + 1} of {trials}{_so_far(study, declared)}", done, trials)
        _seed(study, seed + done)
        study.optimize(what.objective, n_trials=1)
    best = study.best_trial
    return Tuned(
        model=spec.name,
        metric=spec.metric,
        direction=spec.direction,
        trials=len(_finished(study)),
        pruned=sum(trial.state.name == "PRUNED" for trial in study.trials),
        declared=declared,
        best=tuple(best.user_attrs["folds"]),
        params={**spec.lightgbm.params, **best.user_attrs["params"]},
        study=f"{study.study_name} in {file}",
    )


class _Trials:
    """What one trial does."""

    def __init__(self, prepared: Prepared, folds: Sequence[FoldData]) -> None:
        self._spec, self._folds = prepared.spec, folds
        self._fixed = parameters(prepared.spec, classes=int(prepared.data.labels.max()) + 1)
        self._rows = min(len(data.fold.train) for data in folds)

    def declared(self, study: "optuna.Study") -> tuple[float, ...]:
        """Measure the declared parameters on every fold, once for a study."""
        if "declared" not in study.user_attrs:
            study.set_user_attr("declared", [self._measure(data, {}) for data in self._folds])
        return tuple(study.user_attrs["declared"])

    def objective(self, trial: "optuna.Trial") -> float:
        """Measure a trial's parameters fold by fold, and give up early if they are no good."""
        import optuna

        params, values = self._suggest(trial), []
        for number, data in enumerate(self._folds):
            values.append(self._measure(data, params))
            trial.report(float(np.mean(values)), number)
            if number < len(self._folds) - 1 and trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("folds", values)
        trial.set_user_attr("params", params)
        return float(np.mean(values))

    def _measure(self, data: FoldData, params: Params) -> float:
        scores, _ = data.scores({**self._fixed, **params}, self._spec)
        return measure(self._spec.metric, data.labels, scores, quantile=self._spec.quantile)

    def _suggest(self, trial: "optuna.Trial") -> Params:
        largest = int(np.clip(self._rows // 10, _SMALLEST_LEAF + 1, _LARGEST_LEAF))
        return {
            "learning_rate": _rounded(trial.suggest_float("learning_rate", 0.02, 0.3, log=True)),
            "num_leaves": trial.suggest_int("num_leaves", 7, 127, log=True),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", _SMALLEST_LEAF, largest, log=True),
            "feature_fraction": _rounded(trial.suggest_float("feature_fraction", 0.3, 1.0, step=0.05)),
            "bagging_fraction": _rounded(trial.suggest_float("bagging_fraction", 0.5, 1.0, step=0.05)),
            "bagging_freq": 1,
            "lambda_l2": _rounded(trial.suggest_float("lambda_l2", 1e-3, 100.0, log=True)),
        }


def _open_study(file: Path, spec: ModelSpec, *, name: str) -> "optuna.Study":
    import optuna

    # That a trial was interrupted is told by whoever was; Optuna would add its traceback.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{file}",
        study_name=name,
        direction="maximize" if spec.direction == "higher" else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        load_if_exists=True,
    )
    for trial in study.trials:
        # A process that was killed left it so; nobody will finish it.
        if trial.state == optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _finished(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _seed(study: "optuna.Study", seed: int) -> None:
    """Seed each trial by its number: a search that was stopped draws what it would have drawn."""
    import optuna

    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=8)


def _so_far(study: "optuna.Study", declared: Sequence[float]) -> str:
    known = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    best = f"best {study.best_value:.4f}, " if known else ""
    return f": {best}declared {np.mean(declared):.4f}"


def _rounded(value: float) -> float:
    """Three digits: what is declared is what was tried."""
    return float(f"{value:.3g}")


def _digest(prepared: Prepared, folds: int) -> str:
    """Digest all that a trial's value depends on but its parameters: one study, one digest."""
    data, spec = prepared.data, prepared.spec
    told = {
        "spec": spec.model_dump(mode="json", include={"task", "metric", "quantile", "time", "lightgbm"}),
        "schema": data.schema.model_dump(mode="json"),
        "folds": folds,
    }
    known = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for part in (data.matrix[data.fold.fit], data.labels[data.fold.fit]):
        known.update(np.ascontiguousarray(part).tobytes())
    return known.hexdigest()[:16]
