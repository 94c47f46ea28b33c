"""The training flow, one line an arrow."""

import numpy as np

from knownat.clock import Clock, from_us
from knownat.contract.model_spec import ModelSpec, read_spec
from knownat.contract.release import Release
from knownat.contract.workspace import Workspace
from training.baselines import predict_baselines
from training.certificate import certify
from training.dataset import Dataset, Vector, lay_out
from training.evaluation import Evaluation, evaluate
from training.examples import LABEL, read_examples
from training.fit import Rounds, fit
from training.frame import Joined, join_features
from training.gates import judge
from training.publishing import Made, publish
from training.split import keep_answered, split_by_time

Progress = Rounds
"""Told as training goes on: what is being done, steps done, steps in all (0 if it is not known)."""


def train(
    workspace: Workspace,
    model: str,
    *,
    clock: Clock,
    version: str | None = None,
    progress: Progress | None = None,
) -> Release:
    """Train one model on what was known by its cutoff and return its release, whatever its gates say.

    Raises
    ------
    ConfigError
        If the declaration, its SQL or its split cannot be used; every problem at once.
    RepoError, RowsNotConserved, ReleaseError
        If the features cannot be joined, contradict the certificate, or cannot be released.
    """
    report = progress or _say_nothing
    spec = read_spec(workspace.model_file(model))
    report("run the examples' query", 0, 0)
    asked = read_examples(workspace, spec)
    examples = keep_answered(asked, spec.time)
    fold = split_by_time(examples, spec)
    report("join what was known", 0, 0)
    joined = join_features(workspace, spec, examples)
    certificate = certify(spec, joined, fold, all_examples=asked)
    labels = np.asarray(examples[LABEL].to_numpy())
    data = lay_out(joined.frame, joined.plan.output_columns, labels=labels, fold=fold)
    fitted = fit(data, spec, report=report)
    scores = fitted.predict(data.matrix)
    report("fit the baselines and measure", 0, 0)
    evaluation = _evaluate(spec, joined, data, scores)
    gates = judge(spec.gates, evaluation.metrics, evaluation.baselines)
    made = Made(
        spec=spec,
        joined=joined,
        data=data,
        fitted=fitted,
        scores=scores,
        evaluation=evaluation,
        certificate=certificate,
        gates=gates,
    )
    report("write the release", 0, 0)
    return publish(workspace, made, version=version, created_at=from_us(clock.now_us()))


def _evaluate(spec: ModelSpec, joined: Joined, data: Dataset, scores: Vector) -> Evaluation:
    test = data.fold.test
    return evaluate(
        spec,
        joined.frame.take(test),
        labels=data.labels[test],
        scores=scores[test],
        baselines=predict_baselines(data, spec),
    )


def _say_nothing(stage: str, done: int, total: int) -> None:
    """Report to nobody."""
