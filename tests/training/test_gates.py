import pytest

from knownat.contract.model_spec import Gate
from knownat.contract.release import GateResult, Interval
from tests.training.made import make_spec
from training.gates import Measured, judge
from training.leads import Lead
from training.rival import Rival

AUC = {"auc": Interval(value=0.76, low=0.75, high=0.77, rows=100)}
MEASURED = Measured(
    metrics={**AUC, "log_loss": Interval(value=0.5, low=0.48, high=0.52, rows=100)},
    baselines={
        "logistic": {"auc": 0.75, "log_loss": 0.5},
        "prior": {"auc": 0.5, "log_loss": 0.6},
        "last": {"auc": 0.76},
    },
    leads={"logistic": {"auc": Lead(0.01, -0.001, 0.02)}, "prior": {"auc": Lead(0.26, 0.25, 0.27)}},
    slices={
        "depot": {
            "north": {"auc": 0.7, "mean_label": 0.3, "rows": 500.0},
            "south": {"auc": 0.8, "mean_label": 0.3, "rows": 900.0},
            "west": {"mean_label": 1.0, "rows": 50.0},
        }
    },
    rival=Rival("3", 1_000, {"auc": Lead(0.004, -0.004, 0.012)}),
    costs={"size_mb": 1.5, "latency_us": 21.0},
)
DECLARED = {"slices": [{"column": "depot"}], "baselines": ["prior", "logistic", "last"]}


def answer(gate, measured=MEASURED):
    (found,) = judge(make_spec(gates=[gate], **DECLARED), measured)
    return found


@pytest.mark.parametrize(
    ("gate", "told", "value", "bound", "passed"),
    [
        ({"metric": "auc", "at_least": 0.76}, "auc at least 0.76", 0.76, 0.76, True),
        ({"metric": "auc", "at_least": 0.77}, "auc at least 0.77", 0.76, 0.77, False),
        ({"metric": "log_loss", "at_most": 0.5}, "log_loss at most 0.5", 0.5, 0.5, True),
        ({"metric": "log_loss", "at_most": 0.49}, "log_loss at most 0.49", 0.5, 0.49, False),
        (
            {"metric": "auc", "at_least": 0.755, "surely": True},
            "auc (95 %: 0.75 .. 0.77) surely at least 0.755",
            0.75,
            0.755,
            False,
        ),
        (
            {"metric": "log_loss", "at_most": 0.52, "surely": True},
            "log_loss (95 %: 0.48 .. 0.52) surely at most 0.52",
            0.52,
            0.52,
            True,
        ),
        ({"metric": "auc", "better_than": "logistic"}, "auc better than logistic", 0.76, 0.75, True),
        ({"metric": "log_loss", "better_than": "logistic"}, "log_loss better than logistic", 0.5, 0.5, False),
        ({"metric": "auc", "better_than": "last"}, "auc better than last", 0.76, 0.76, False),
        ({"metric": "log_loss", "better_than": "prior"}, "log_loss better than prior", 0.5, 0.6, True),
        (
            {"metric": "auc", "better_than": "logistic", "surely": True},
            "auc surely better than logistic (by -0.001 .. 0.02)",
            0.76,
            0.75,
            False,
        ),
        (
            {"metric": "auc", "better_than": "prior", "surely": True},
            "auc surely better than prior (by 0.25 .. 0.27)",
            0.76,
            0.5,
            True,
        ),
        (
            {"metric": "auc", "at_least": 0.7, "slice": "depot"},
            "auc where depot is north, the worst of 2, at least 0.7",
            0.7,
            0.7,
            True,
        ),
        ({"metric": "size_mb", "at_most": 1.0}, "size_mb at most 1", 1.5, 1.0, False),
        ({"metric": "latency_us", "at_most": 50.0}, "latency_us at most 50", 21.0, 50.0, True),
        (
            {"metric": "auc", "not_worse_than": "champion", "by": 0.005},
            "auc at most 0.005 worse than champion 3 on the same 1,000 rows (lead -0.004 .. 0.012)",
            0.004,
            -0.005,
            True,
        ),
        (
            {"metric": "auc", "not_worse_than": "champion", "by": 0.003},
            "auc at most 0.003 worse than champion 3 on the same 1,000 rows (lead -0.004 .. 0.012)",
            0.004,
            -0.003,
            False,
        ),
    ],
)
def test_a_gate_answers_with_its_number_and_its_bound(gate, told, value, bound, passed):
    assert answer(gate) == GateResult(gate=told, value=value, bound=bound, passed=passed)


def test_the_first_version_has_no_champion_to_fear():
    found = answer({"metric": "auc", "not_worse_than": "champion"}, Measured(metrics=AUC))
    assert found.passed
    assert found.gate == "auc against the champion: none serves yet"


def test_a_champion_that_may_have_seen_every_row_lets_nobody_pass():
    seen = Measured(metrics=AUC, rival=Rival("3", 0, {}))
    assert not answer({"metric": "auc", "not_worse_than": "champion"}, seen).passed


def test_a_slice_without_a_group_that_is_large_enough_passes_nothing():
    gate = {"metric": "auc", "at_least": 0.1, "slice": "depot"}
    assert not answer(gate, Measured(metrics=AUC, slices={"depot": {}})).passed


def test_an_undefined_metric_passes_no_gate():
    undefined = Measured(metrics={"auc": Interval(value=float("nan"), low=0, high=1, rows=0)})
    for gate in ({"metric": "auc", "at_least": 0.0}, {"metric": "auc", "at_most": 1.0}):
        assert not answer(gate, undefined).passed


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ({"metric": "auc"}, "exactly one of"),
        ({"metric": "auc", "at_least": 0.5, "better_than": "prior"}, "exactly one of"),
        ({"metric": "auc", "at_least": 0.5, "by": 0.1}, "by goes with not_worse_than"),
        ({"metric": "auc", "better_than": "prior", "slice": "depot"}, "slice goes with"),
        ({"metric": "auc", "at_least": 0.5, "slice": "depot", "surely": True}, "have no interval"),
        ({"metric": "size_mb", "at_least": 1.0}, "is bounded with at_most"),
        ({"metric": "auc", "at_least": 0.5, "slice": "city"}, "not among slices"),
        ({"metric": "ece", "at_most": 0.5, "slice": "depot"}, "measured with 'auc' alone"),
        ({"metric": "mae", "at_most": 0.5}, "metric 'mae' is not one of"),
        ({"metric": "auc", "better_than": "static"}, "not among baselines"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(gate, told):
    with pytest.raises(ValueError, match=told):
        make_spec(gates=[gate], **DECLARED)


def test_a_gate_is_a_plain_value():
    assert Gate(metric="auc", at_least=0.7) == Gate(metric="auc", at_least=0.7)
