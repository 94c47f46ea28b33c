import pytest
from pydantic import ValidationError

from knownat.contract.rules import CURABLE, Retraining, VerdictRules, Webhook
from monitoring.summary import FaultKind


def problems(kind, **given):
    with pytest.raises(ValidationError) as caught:
        kind(**given)
    return [(error["loc"][0], error["msg"]) for error in caught.value.errors()]


def test_every_rule_that_cannot_be_is_named_at_once():
    found = problems(VerdictRules, windows=3, fault_windows=4, fall_windows=5, retrain_windows=0)

    assert [where for where, _ in found] == ["fault_windows", "fall_windows", "retrain_windows"]
    assert "4 of 3 windows can never be reached" in found[0][1]


def test_retraining_asks_for_no_less_than_an_alert():
    ((where, told),) = problems(VerdictRules, windows=4, fall_windows=3, retrain_windows=2)

    assert where == "retrain_windows"
    assert "fewer than fall_windows (3)" in told


def test_a_rule_that_there_is_not_is_refused():
    # Above all not one on how many features drifted.
    assert [where for where, _ in problems(VerdictRules, max_drifted_share=0.5)] == ["max_drifted_share"]


@pytest.mark.parametrize("kind", ["unavailable", "stale", "empty_window", "drifted"])
def test_a_fault_that_a_new_model_does_not_get_over_asks_for_none(kind):
    ((where, told),) = problems(VerdictRules, retrain_faults=[kind])

    assert where == "retrain_faults"
    assert "new_categories" in told


def test_a_fault_is_named_once():
    ((_, told),) = problems(VerdictRules, retrain_faults=["constant", "constant"])

    assert "named twice" in told


def test_every_curable_fault_is_one_that_is_looked_for():
    assert set(CURABLE) <= {kind.value for kind in FaultKind}


@pytest.mark.parametrize("url", ["ftp://example.org/x", "example.org", "env:", "env:A B", ""])
def test_a_webhook_that_is_no_address_is_refused(url):
    assert [where for where, _ in problems(Webhook, url=url, shape="slack")] == ["url"]


def test_a_webhook_may_be_named_by_a_variable():
    assert Webhook(url="env:ALERTS_URL", shape="alertmanager").deadline_s == 10


def test_a_shadow_is_judged_on_enough_answers():
    assert [where for where, _ in problems(Retraining, shadow_answers=10, promotion="nobody")] == [
        "promotion",
        "shadow_answers",
    ]
