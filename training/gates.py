"""The verdict on a measured model: bounds are policy, and each answer carries its number and reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knownat.contract.model_spec import COSTS, Gate, ModelSpec
from knownat.contract.release import GateResult, Interval
from training.certificate import Certificate
from training.leads import Lead
from training.rival import Rival
from training.slices import Slices


@dataclass(frozen=True)
class Measured:
    """Everything that gates are judged by; no verdict."""

    metrics: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    leads: Mapping[str, Mapping[str, Lead]] = field(default_factory=dict)
    """Of a baseline, by metric: the lead over it on the same rows."""
    slices: Slices = field(default_factory=dict)
    rival: Rival | None = None
    costs: Mapping[str, float] = field(default_factory=dict)


def judge(spec: ModelSpec, measured: Measured) -> tuple[GateResult, ...]:
    """Answer every gate; what could not be measured passes none."""
    return tuple(_answer(spec, gate, measured) for gate in spec.gates)


def judge_certificate(certificate: Certificate) -> GateResult:
    """Answer the gate that every model has: no proof of a leak, and no suspicion left unexplained."""
    found = len(certificate.problems()) + len(certificate.open_suspicions())
    return _result("signs of a leak", float(found), 0.0, passed=not found)


def _answer(spec: ModelSpec, gate: Gate, measured: Measured) -> GateResult:
    if gate.not_worse_than is not None:
        return _against_champion(gate, measured.rival)
    if gate.better_than is not None:
        return _against_baseline(spec, gate, measured)
    if gate.slice is not None:
        return _in_every_group(gate, measured.slices[gate.slice])
    if gate.metric in COSTS:
        return _bounded(gate, gate.metric, measured.costs[gate.metric])
    found = measured.metrics[gate.metric]
    if not gate.surely:
        return _bounded(gate, gate.metric, found.value)
    worse = found.low if gate.at_least is not None else found.high
    return _bounded(gate, f"{gate.metric} (95 %: {found.low:.4g} .. {found.high:.4g}) surely", worse)


def _bounded(gate: Gate, name: str, value: float) -> GateResult:
    if gate.at_least is not None:
        return _result(
            f"{name} at least {gate.at_least:g}", value, gate.at_least, passed=value >= gate.at_least
        )
    bound = float(str(gate.at_most))
    return _result(f"{name} at most {bound:g}", value, bound, passed=value <= bound)


def _against_baseline(spec: ModelSpec, gate: Gate, measured: Measured) -> GateResult:
    baseline = str(gate.better_than)
    value, bound = measured.metrics[gate.metric].value, measured.baselines[baseline][gate.metric]
    if gate.surely:
        lead = measured.leads[baseline][gate.metric]
        name = f"{gate.metric} surely better than {baseline} (by {lead.low:.4g} .. {lead.high:.4g})"
        return _result(name, value, bound, passed=lead.low > 0)
    better = value > bound if spec.direction_of(gate.metric) == "higher" else value < bound
    return _result(f"{gate.metric} better than {baseline}", value, bound, passed=better)


def _against_champion(gate: Gate, rival: Rival | None) -> GateResult:
    if rival is None:
        return _result(f"{gate.metric} against the champion: none serves yet", 0.0, -gate.by, passed=True)
    if not rival.rows:
        name = f"{gate.metric} against champion {rival.version}: it may have seen every test row"
        return _result(name, 0.0, -gate.by, passed=False)
    lead = rival.leads[gate.metric]
    name = (
        f"{gate.metric} at most {gate.by:g} worse than champion {rival.version} "
        f"on the same {rival.rows:,} rows (lead {lead.low:.4g} .. {lead.high:.4g})"
    )
    return _result(name, lead.value, -gate.by, passed=lead.low >= -gate.by)


def _in_every_group(gate: Gate, groups: Mapping[str, Mapping[str, float]]) -> GateResult:
    measured = {name: found[gate.metric] for name, found in groups.items() if gate.metric in found}
    if not measured:
        bound = gate.at_least if gate.at_least is not None else float(str(gate.at_most))
        name = f"{gate.metric} by {gate.slice}: no group is large enough to be judged"
        return _result(name, 0.0, bound, passed=False)
    pick = min if gate.at_least is not None else max
    worst = pick(measured, key=lambda name: measured[name])
    return _bounded(
        gate, f"{gate.metric} where {gate.slice} is {worst}, the worst of {len(measured)},", measured[worst]
    )


def _result(gate: str, value: float, bound: float, *, passed: bool) -> GateResult:
    return GateResult(gate=gate, value=value, bound=bound, passed=bool(passed))
