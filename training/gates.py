"""The verdict on a measured model: bounds are policy, and each answer carries its reason."""

from collections.abc import Mapping, Sequence

from knownat.contract.model_spec import METRICS, Gate
from knownat.contract.release import GateResult, Interval
from training.certificate import Certificate

Baselines = Mapping[str, Mapping[str, float]]


def judge(
    gates: Sequence[Gate], metrics: Mapping[str, Interval], baselines: Baselines
) -> tuple[GateResult, ...]:
    """Answer every gate; a metric that could not be measured passes none."""
    return tuple(_answer(gate, metrics[gate.metric].value, baselines) for gate in gates)


def judge_certificate(certificate: Certificate) -> GateResult:
    """Answer the gate that every model has: no proof of a leak, and no suspicion left unexplained."""
    found = len(certificate.problems()) + len(certificate.open_suspicions())
    return _result("signs of a leak", float(found), 0.0, not found)


def _answer(gate: Gate, value: float, baselines: Baselines) -> GateResult:
    if gate.at_least is not None:
        return _result(
            f"{gate.metric} at least {gate.at_least:g}", value, gate.at_least, value >= gate.at_least
        )
    if gate.at_most is not None:
        return _result(f"{gate.metric} at most {gate.at_most:g}", value, gate.at_most, value <= gate.at_most)
    bound = baselines[str(gate.better_than)][gate.metric]
    higher = METRICS[gate.metric][0] == "higher"
    better = value > bound if higher else value < bound
    return _result(f"{gate.metric} better than {gate.better_than}", value, bound, better)


def _result(gate: str, value: float, bound: float, passed: bool) -> GateResult:
    return GateResult(gate=gate, value=value, bound=bound, passed=bool(passed))
