"""Leaks of plain strength are caught in every history, and no honest column is ever accused."""

import pytest

from knownat.contract.model_spec import read_spec
from knownat.scoring.metrics import auc
from knownat.stores.pipelines import build_features
from tests.soak import scale
from tests.training.histories import HONEST, LEAKS, join, join_with_evidence, write_history
from training.certificate import certify
from training.dataset import lay_out
from training.examples import read_examples
from training.future import choose_instants, probe_future
from training.split import keep_answered, split_by_time
from training.suspicion import suspect

pytestmark = pytest.mark.xdist_group("feast-training")
HISTORIES = scale(6, 200)


@pytest.fixture(scope="module", params=range(HISTORIES))
def world(request, tmp_path_factory):
    """One history, built, with its questions and what rewriting its future moved."""
    workspace = write_history(tmp_path_factory.mktemp("history"), seed=request.param)
    build_features(workspace.repo)
    spec = read_spec(workspace.model_file("outcome"))
    asked = read_examples(workspace, spec)
    instants = choose_instants(asked, spec)
    future = probe_future(workspace, spec, asked, instants=instants, join=join, report=lambda _: None)
    return workspace, spec, asked, future


def moved(future):
    return {moved.where for evidence in future for moved in evidence.moved}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_of_plain_strength_is_caught(world, leak):
    *_, future = world
    assert {f"table '{leak}'", f"{leak}__leak"} <= moved(future)


def test_honest_columns_are_never_accused(world):
    *_, future = world
    leaks = {f"{kind}{leak}{rest}" for leak in LEAKS for kind, rest in (("table '", "'"), ("", "__leak"))}
    assert moved(future) - leaks == set()
    assert {evidence.columns for evidence in future} == {len(HONEST) + len(LEAKS)}
    assert all(evidence.labels_changed == evidence.questions_changed == 0 for evidence in future)


def test_a_detector_that_is_awake_catches_what_is_planted_on_purpose(world):
    *_, future = world
    for canary in LEAKS:
        assert any(evidence.canaries[canary] for evidence in future)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_an_honest_column_that_ranks_very_well_is_not_suspected(seed, tmp_path):
    workspace = write_history(tmp_path, seed=1_000 + seed, predictive=2.6)
    build_features(workspace.repo)
    spec = read_spec(workspace.model_file("outcome"))
    asked = read_examples(workspace, spec)
    examples = keep_answered(asked, spec.time)
    joined = join_with_evidence(workspace, examples, ["honest"])
    fold = split_by_time(examples, spec)
    labels = examples["label"].to_numpy()
    data = lay_out(joined.frame, joined.plan.output_columns, labels=labels, fold=fold)

    risk = data.schema.names.index("honest__risk_last")
    assert auc(labels, data.matrix[:, risk]) > 0.86
    assert suspect(spec, joined, data, asked) == ()
    assert certify(spec, joined, fold, all_examples=asked).problems() == []
