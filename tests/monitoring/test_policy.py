from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.contract.rules import VerdictRules
from knownat.contract.verdict import Action, FaultSeen, Vote
from monitoring.policy import decide

FIRST = datetime(2024, 3, 4, tzinfo=UTC)
DAY = timedelta(days=1)
BROKEN = FaultSeen(kind="all_null", subject="orders__city", alarming=True)
RENAMED = FaultSeen(kind="new_categories", subject="orders__city", alarming=False)


def vote(number, *, measured=True, fell=False, faults=(), version="3", level=None):
    alarming = fell or any(fault.alarming for fault in faults)
    said = level or ("alert" if alarming else "watch" if faults else "ok")
    return Vote(
        start=FIRST + number * DAY,
        end=FIRST + (number + 1) * DAY,
        version=version,
        level=said,
        reasons=(f"window {number} said {said}",),
        measured=measured,
        fell=fell,
        faults=tuple(faults),
    )


def windows(*kinds):
    """Ok, fallen, broken, renamed, pending, or fallen and broken: one window each."""
    made = {
        "ok": {},
        "fell": {"fell": True},
        "broken": {"faults": [BROKEN]},
        "renamed": {"faults": [RENAMED]},
        "pending": {"measured": False},
        "both": {"fell": True, "faults": [BROKEN]},
        "doubt": {"level": "watch"},
    }
    return [vote(number, **made[kind]) for number, kind in enumerate(kinds)]


RULES = VerdictRules(windows=4, fault_windows=2, fall_windows=1, retrain_windows=2)


def action(*kinds, rules=RULES, **given):
    return decide(windows(*kinds), rules, **given).action


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["ok"], Action.OK),
        (["ok", "ok", "ok", "doubt"], Action.WATCH),
        (["doubt", "ok", "ok", "ok", "ok"], Action.OK),
        (["ok", "ok", "broken"], Action.WATCH),
        (["broken", "ok", "broken"], Action.ALERT),
        (["broken", "ok", "ok", "ok", "broken"], Action.WATCH),
        (["ok", "fell"], Action.ALERT),
        (["fell", "ok", "fell"], Action.RETRAIN),
        (["fell", "ok", "ok", "ok", "fell"], Action.ALERT),
        (["renamed", "renamed"], Action.RETRAIN),
        (["ok", "renamed"], Action.WATCH),
    ],
)
def test_so_many_of_so_many_windows_decide(kinds, expected):
    assert action(*kinds) is expected


def test_performance_counts_in_windows_whose_labels_matured():
    # The newest windows always wait for their labels: they dilute nothing.
    assert action("fell", "fell", "pending", "pending", "pending", "pending") is Action.RETRAIN


def test_a_fall_beside_broken_data_is_the_pipelines():
    found = decide(windows("both", "both"), RULES)

    assert found.action is Action.ALERT
    assert "broken data in 2 of the 2" in found.reasons[0]


def test_nothing_is_trained_while_the_newest_window_is_broken():
    found = decide(windows("fell", "fell", "broken"), RULES)

    assert found.action is Action.ALERT
    assert found.reasons[-1] == "retraining waits: mend orders__city first, or the new model learns the fault"


def test_a_fault_that_is_seen_twice_in_one_window_is_seen_in_one_window():
    assert decide([vote(0, faults=[RENAMED, RENAMED])], RULES).action is Action.WATCH


def test_faults_that_do_not_alarm_make_no_alert_however_often_they_come():
    still = FaultSeen(kind="constant", subject="orders__city", alarming=False)

    assert decide([vote(number, faults=[still]) for number in range(4)], RULES).action is Action.WATCH


def test_a_lasting_fault_that_a_new_model_gets_over_asks_for_one_though_it_alarms():
    many = FaultSeen(kind="new_categories", subject="orders__city", alarming=True)

    assert decide([vote(number, faults=[many]) for number in range(2)], RULES).action is Action.RETRAIN


def test_windows_of_an_earlier_version_say_nothing_of_this_one():
    old = [vote(0, fell=True, version="2"), vote(1, fell=True, version="2")]

    assert decide([*old, vote(2)], RULES).action is Action.OK


def test_after_a_release_none_is_asked_for_until_the_cooldown_is_over():
    fallen = windows(*["fell"] * 9)
    rules = VerdictRules(cooldown_hours=72)
    made = FIRST + 7 * DAY

    held = decide(fallen, rules, made_at=[made])
    later = decide(fallen[:6], rules, made_at=[made - 4 * DAY])

    assert held.action is Action.ALERT
    assert held.reasons[-1] == (
        "retraining waits until 2024-03-14 00:00: a release was made at 2024-03-11 00:00"
    )
    assert later.action is Action.RETRAIN


def test_a_release_made_after_the_windows_holds_nothing():
    assert action("fell", "fell", made_at=[FIRST + 500 * DAY]) is Action.RETRAIN


def test_since_when_is_the_first_window_of_the_last_unbroken_run():
    found = decide(windows("fell", "ok", "ok", "ok", "ok", "fell", "ok"), RULES)

    assert (found.action, found.since) == (Action.ALERT, FIRST + 6 * DAY)


def test_a_reason_names_the_window_and_what_it_said():
    (reason,) = decide(windows("ok", "fell"), RULES).reasons

    assert reason == (
        "performance surely fell in 1 of the 2 newest windows; until 2024-03-06 00:00: window 1 said alert"
    )


kinds = st.lists(
    st.sampled_from(["ok", "fell", "broken", "renamed", "pending", "both", "doubt"]), min_size=1, max_size=9
)


@given(kinds)
def test_retraining_follows_falls_without_broken_data_or_lasting_faults_and_nothing_else(found):
    last = found[-4:]
    measured = [kind for kind in found if kind != "pending"][-4:]
    asked = measured.count("fell") >= 2 or last.count("renamed") >= 2

    assert (action(*found) is Action.RETRAIN) == (asked and found[-1] not in {"broken", "both"})


@given(kinds)
def test_one_more_calm_window_never_makes_it_worse(found):
    order = [Action.OK, Action.WATCH, Action.ALERT, Action.RETRAIN]
    held = found[-1] in {"broken", "both"}

    before, after = action(*found), action(*found, "ok")

    # What waits for a broken pipeline may be asked for once that is mended.
    assert order.index(after) <= order.index(before) or (held and after is Action.RETRAIN)
