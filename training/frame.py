"""The one module of training that opens a feature repo: examples in, what was known at each out."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from knownat.contract.model_spec import ModelSpec
from knownat.contract.read_plan import ReadPlan
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from knownat.stores.agreement import prove_online
from knownat.stores.history import historical_frame, replay_frame
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import open_repo
from training.examples import EVENT_TIMESTAMP


@dataclass(frozen=True)
class Joined:
    """Examples with their features, and the evidence of where each value came from.

    ``frame`` is Feast's answer, every promised column as ``view__feature``. ``rows`` is the same
    question asked of the as-of kernel alone: every stored value, with its row's two times.
    """

    frame: pa.Table
    rows: pa.Table
    plan: ReadPlan
    sources: Mapping[str, str]


def join_features(workspace: Workspace, spec: ModelSpec, examples: pa.Table) -> Joined:
    """Join examples with the model's feature service, as it was known at each one's own time.

    Raises
    ------
    ConfigError
        If the declaration and the feature service disagree about keys or inputs.
    RepoError, RowsNotConserved
        If the repo cannot answer, returns other rows than it was given, or its plan reads other online
        values than Feast.
    """
    repo = open_repo(workspace.repo)
    plan, sources = compile_read_plan(
        repo, spec.feature_service, question_time_input=spec.examples.question_time_input
    )
    if problems := _disagreements(spec, plan):
        raise ConfigError(workspace.model_file(spec.name), problems)
    prove_online(repo, plan, examples)
    nullable = tuple(i.name for i in plan.request_inputs if examples[i.name].null_count)
    return Joined(
        frame=historical_frame(repo, examples, spec.feature_service),
        rows=replay_frame(repo, examples, plan, known_at=EVENT_TIMESTAMP),
        plan=plan.model_copy(update={"nullable_inputs": nullable}),
        sources=sources,
    )


def _disagreements(spec: ModelSpec, plan: ReadPlan) -> list[str]:
    problems = [
        f"examples.keys names '{name}' as {declared}; service '{plan.feature_service}' needs {dtype}"
        for name, dtype in plan.request_keys.items()
        if (declared := spec.examples.keys.get(name)) != dtype
    ]
    problems += [
        f"examples.inputs names '{i.name}' as {given}; service '{plan.feature_service}' needs {i.dtype}"
        for i in plan.request_inputs
        if (given := spec.examples.inputs.get(i.name)) != i.dtype
    ]
    return problems


def join_again(workspace: Workspace, questions: pa.Table, feature_service: str) -> pa.Table:
    """Join questions with a feature service in another world; see :mod:`training.future`.

    Raises
    ------
    RepoError, RowsNotConserved
        If the repo cannot answer, or returns other rows than it was given.
    """
    return historical_frame(open_repo(workspace.repo), questions, feature_service)
