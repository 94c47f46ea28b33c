"""The training flow, one line an arrow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from knownat.clock import Clock, from_us
from knownat.contract.model_spec import COSTS, ModelSpec, TimeSplit, read_spec
from knownat.contract.release import Release
from knownat.contract.workspace import Workspace
from knownat.scoring.metrics import Custom
from training.baselines import predict_baselines
from training.certificate import Certificate, certify
from training.costs import measure_costs
from training.custom_metrics import load_custom_metrics
from training.dataset import Dataset, Vector, lay_out
from training.evaluation import Evaluation, evaluate
from training.examples import LABEL, examples_of_both_sides, read_examples
from training.fit import Fitted, Rounds, fit
from training.frame import Joined, join_again, join_features
from training.future import choose_instants, probe_future
from training.gates import Measured, judge, judge_certificate
from training.publishing import Made, publish
from training.rival import compare_with_champion
from training.roles import find_champion
from training.selection import measure_selection
from training.split import keep_answered, split_by_time
from training.suspicion import suspect, too_good

Progress = Rounds
"""Told as training goes on: what is being done, steps done, steps in all (0 if it is not known)."""


@dataclass(frozen=True)
class Prepared:
    """Everything a model is made from: questions, what was known at each, and the evidence that it was."""

    spec: ModelSpec
    asked: pa.Table
    joined: Joined
    data: Dataset
    certificate: Certificate


def train(
    workspace: Workspace,
    model: str,
    *,
    clock: Clock,
    version: str | None = None,
    time: TimeSplit | None = None,
    progress: Progress | None = None,
) -> Release:
    """Train one model on what was known by its cutoff and return its release, whatever its gates say.

    ``time`` is another split than the declared one, as a retraining moves the cutoff.

    Raises
    ------
    ConfigError
        If the declaration, its SQL or its split cannot be used; every problem at once.
    RepoError, RowsNotConserved, ReleaseError
        If the features cannot be joined, contradict the certificate, or cannot be released.
    """
    report = progress or say_nothing
    declared = read_spec(workspace.model_file(model))
    spec = declared if time is None else declared.model_copy(update={"time": time})
    prepared = search_for_leaks(workspace, prepare(workspace, spec, report), report)
    made = _make(workspace, prepared, report)
    report("write the release", 0, 0)
    return publish(workspace, made, version=version, created_at=from_us(clock.now_us()))


def prepare(workspace: Workspace, spec: ModelSpec, report: Progress) -> Prepared:
    """Read a model's questions, join what was known at each, and count the evidence row by row.

    Raises
    ------
    ConfigError, RepoError, RowsNotConserved
        See :func:`train`.
    """
    report("run the examples' query", 0, 0)
    asked = read_examples(workspace, spec)
    examples = keep_answered(examples_of_both_sides(workspace, spec, asked=asked), spec.time)
    fold = split_by_time(examples, spec)
    report("join what was known", 0, 0)
    joined = join_features(workspace, spec, examples)
    certificate = certify(spec, joined, fold, all_examples=asked)
    labels = np.asarray(examples[LABEL].to_numpy())
    weight = spec.examples.weight
    weights = np.asarray(examples[weight].to_numpy()) if weight else None
    data = lay_out(joined.frame, joined.plan.output_columns, labels=labels, fold=fold, weights=weights)
    return Prepared(spec, asked, joined, data, certificate)


def search_for_leaks(workspace: Workspace, prepared: Prepared, report: Progress) -> Prepared:
    """Add to what the rows' times show: the rewritten future, the planted leaks, the suspicions.

    Raises
    ------
    ConfigError, RepoError
        If the pipelines cannot be run over rewritten events.
    """
    spec, asked = prepared.spec, prepared.asked
    future = probe_future(
        workspace,
        spec,
        asked,
        instants=choose_instants(asked, spec),
        join=partial(join_again, feature_service=spec.feature_service),
        report=lambda stage: report(stage, 0, 0),
    )
    report("look for what looks like a leak", 0, 0)
    suspicions = suspect(spec, prepared.joined, prepared.data, asked)
    certificate = replace(prepared.certificate, future=future, suspicions=suspicions)
    return replace(prepared, certificate=certificate)


def _make(workspace: Workspace, prepared: Prepared, report: Progress) -> Made:
    """Fit, measure and judge: everything that a release holds."""
    spec, data = prepared.spec, prepared.data
    fitted = fit(data, spec, report=report)
    scores = fitted.predict(data.matrix)
    report("fit the baselines and measure", 0, 0)
    custom = load_custom_metrics(workspace, spec)
    evaluation = judge_scores(prepared, scores, custom)
    certificate = prepared.certificate.suspecting(too_good(spec, evaluation.metrics[spec.metric].value))
    measured = measure_for_gates(workspace, prepared, fitted, scores, evaluation, custom=custom)
    return Made(
        spec=spec,
        joined=prepared.joined,
        data=data,
        fitted=fitted,
        scores=scores,
        evaluation=evaluation,
        certificate=certificate,
        gates=(*judge(spec, measured), judge_certificate(certificate)),
        selection=measure_selection(spec, prepared.asked),
    )


def judge_scores(prepared: Prepared, scores: Vector, custom: Mapping[str, Custom]) -> Evaluation:
    """Measure scores of every row, and the baselines, on the test side."""
    data, test, frame = prepared.data, prepared.data.fold.test, prepared.joined.frame
    return evaluate(
        prepared.spec,
        frame.take(test),
        labels=data.labels[test],
        scores=scores[test],
        baselines=predict_baselines(data, prepared.spec, frame),
        custom=custom,
    )


def measure_for_gates(
    workspace: Workspace,
    prepared: Prepared,
    fitted: Fitted,
    scores: Vector,
    evaluation: Evaluation,
    *,
    custom: Mapping[str, Custom],
) -> Measured:
    """Gather what the gates ask for; the champion and the costs are measured only if one does."""
    spec, data, test = prepared.spec, prepared.data, prepared.data.fold.test
    against = [gate.metric for gate in spec.gates if gate.not_worse_than is not None]
    champion = find_champion(workspace, spec.name) if against else None
    rival = None
    if champion is not None:
        rival = compare_with_champion(
            workspace,
            champion,
            spec,
            prepared.joined.frame.take(test),
            labels=data.labels[test],
            scores=scores[test],
            metrics=against,
            custom=custom,
        )
    costs = [gate.metric for gate in spec.gates if gate.metric in COSTS]
    return Measured(
        metrics=evaluation.metrics,
        baselines=evaluation.baselines,
        leads=evaluation.leads,
        slices=evaluation.slices,
        rival=rival,
        costs=measure_costs(fitted, data.matrix[test], costs) if costs else {},
    )


def say_nothing(stage: str, done: int, total: int) -> None:
    """Report to nobody."""
