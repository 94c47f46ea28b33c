import pytest

from knownat.contract.model_spec import Gate
from knownat.contract.release import GateResult, Interval
from training.gates import judge

METRICS = {
    "auc": Interval(value=0.76, low=0.75, high=0.77, rows=100),
    "mae": Interval(value=20.0, low=19.0, high=21.0, rows=100),
}
BASELINES = {"logistic": {"auc": 0.75}, "median": {"mae": 20.0}}


@pytest.mark.parametrize(
    ("gate", "answer"),
    [
        (Gate(metric="auc", at_least=0.76), ("auc at least 0.76", 0.76, 0.76, True)),
        (Gate(metric="auc", at_least=0.77), ("auc at least 0.77", 0.76, 0.77, False)),
        (Gate(metric="mae", at_most=20.0), ("mae at most 20", 20.0, 20.0, True)),
        (Gate(metric="mae", at_most=19.5), ("mae at most 19.5", 20.0, 19.5, False)),
        (Gate(metric="auc", better_than="logistic"), ("auc better than logistic", 0.76, 0.75, True)),
        (Gate(metric="mae", better_than="median"), ("mae better than median", 20.0, 20.0, False)),
    ],
)
def test_a_gate_answers_with_its_number_and_its_bound(gate, answer):
    names = ("gate", "value", "bound", "passed")
    assert judge([gate], METRICS, BASELINES) == (GateResult(**dict(zip(names, answer, strict=True))),)


def test_an_undefined_metric_passes_no_gate():
    undefined = {"auc": Interval(value=float("nan"), low=0, high=1, rows=0)}
    gates = [Gate(metric="auc", at_least=0.0), Gate(metric="auc", at_most=1.0)]
    assert not any(result.passed for result in judge(gates, undefined, {}))
