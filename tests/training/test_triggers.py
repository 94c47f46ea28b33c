"""What asks for a new model and what does not, each at its very bound."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from knownat.contract.release import Manifest
from knownat.contract.verdict import Action, ModelVerdict
from tests.scoring.small_release import manifest
from tests.training.made import MOMENT, make_spec
from training.audit import Line, Step
from training.triggers import No, Trigger, held_back, new_split, of_new_answers, of_schedule, of_verdict

CUTOFF = datetime(2024, 3, 1, tzinfo=UTC)
NOW = datetime(2024, 3, 21, tzinfo=UTC)
DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
CHAMPION = Manifest.model_validate({"files": {}, **manifest("3")})


def spec(**retraining):
    return make_spec(
        retraining=retraining, monitoring={"window_hours": 24, "verdict": {"cooldown_hours": 48}}
    )


def verdict(**changes):
    return ModelVerdict(
        model="late_parcel",
        version="3",
        action=Action.RETRAIN,
        since=NOW - 2 * DAY,
        reasons=("performance surely fell", "a feed stopped"),
        owner="parcels@example.org",
        runbook="docs/late_parcel.md",
        as_of=NOW,
        judged_at=NOW,
        votes=(),
    ).model_copy(update=changes)


def test_a_verdict_that_asks_is_followed_with_its_reasons_as_evidence():
    found = of_verdict(verdict(), CHAMPION, spec(), now=NOW)
    assert isinstance(found, Trigger)
    assert (found.kind, found.why) == (
        "verdict",
        "the verdict asks for it since 2024-03-19 00:00: performance surely fell; a feed stopped",
    )
    assert found.evidence["action"] == "retrain"


@pytest.mark.parametrize(
    ("given", "why", "asked"),
    [
        (None, "there is no verdict; run `knownat monitor`", False),
        (verdict(action=Action.ALERT), "the verdict is alert", False),
        (verdict(action=Action.OK), "the verdict is ok", False),
        (verdict(version="2"), "of version 2; 3 serves", True),
        (verdict(judged_at=NOW - 3 * DAY - TICK), "was made 3.0 days ago; run `knownat monitor`", True),
    ],
)
def test_a_verdict_that_does_not_ask_of_what_serves_today_begins_nothing(given, why, asked):
    found = of_verdict(given, CHAMPION, spec(), now=NOW)
    assert isinstance(found, No)
    assert (why in found.why, found.asked) == (True, asked)


def test_a_verdict_is_fresh_for_three_windows():
    assert isinstance(of_verdict(verdict(judged_at=NOW - 3 * DAY), CHAMPION, spec(), now=NOW), Trigger)


def test_a_schedule_counts_from_what_the_champion_knows():
    assert of_schedule(CHAMPION, spec(), now=NOW) == No("no schedule is declared")
    told = "version 3 knows nothing of the last 20.0 days; every 20 days are declared"
    assert of_schedule(CHAMPION, spec(every_days=20), now=NOW) == Trigger(
        "schedule", told, {"every_days": 20}
    )
    assert of_schedule(CHAMPION, spec(every_days=20), now=NOW - TICK) == No(told)


def answers(*known):
    """Questions and when each one's answer became known; None was never answered."""
    labels = pa.array([None if each is None else 1.0 for each in known], pa.float64())
    # An unanswered question may carry the time at which it was given up.
    times = [NOW if each is None else each for each in known]
    return pa.table({"label": labels, "label_timestamp": pa.array(times, MOMENT)})


def test_only_answers_known_after_the_cutoff_and_by_now_are_new():
    asked = answers(CUTOFF, CUTOFF + TICK, CUTOFF + DAY, NOW, NOW + TICK, None)
    told = "3 answers came since 2024-03-01; 3 are declared"
    assert of_new_answers(CHAMPION, spec(new_answers=3), asked, now=NOW) == Trigger(
        "new answers", told, {"new_answers": 3}
    )
    found = of_new_answers(CHAMPION, spec(new_answers=4), asked, now=NOW)
    assert found == No("3 answers came since 2024-03-01; 4 are declared")
    assert of_new_answers(CHAMPION, spec(new_answers=1), answers(None), now=NOW) == No(
        "0 answers came since 2024-03-01; 1 are declared"
    )


def test_new_answers_ask_for_nothing_where_no_number_is_declared():
    found = of_new_answers(CHAMPION, spec(), answers(NOW), now=NOW)
    assert found == No("no number of new answers is declared")


def line(step, at, attempt=1):
    return Line(at, "ada", "late_parcel", attempt, step, "it failed its gates", {})


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step.REFUSED, "attempt 1 was refused (it failed its gates)"),
        (Step.PROMOTED, "attempt 1 was promoted"),
    ],
)
def test_after_an_attempt_the_next_one_waits(step, told):
    lines = [line(Step.ASKED, NOW - 90 * HOUR), line(step, NOW - 48 * HOUR + TICK)]
    found = held_back(lines, spec(), now=NOW)
    assert found is not None
    assert found.asked
    assert found.why.startswith(f"{told} at 2024-03-19 00:00; the next one may begin at 2024-03-21 00:00")
    assert held_back([*lines[:1], line(step, NOW - 48 * HOUR)], spec(), now=NOW) is None


def test_neither_an_open_attempt_nor_a_refusal_to_begin_one_holds_the_next_back():
    assert held_back([], spec(), now=NOW) is None
    assert held_back([line(Step.TRAINED, NOW)], spec(), now=NOW) is None
    assert held_back([line(Step.REFUSED, NOW, attempt=0)], spec(), now=NOW) is None


def test_the_newest_attempt_that_ended_counts():
    lines = [line(Step.REFUSED, NOW - 60 * HOUR), line(Step.PROMOTED, NOW - HOUR, attempt=2)]
    found = held_back(lines, spec(), now=NOW)
    assert found is not None
    assert found.why.startswith("attempt 2 was promoted at 2024-03-20 23:00")


def test_the_cutoff_moves_by_whole_days_as_far_as_every_test_answer_is_known():
    # Twelve hours of gap and twenty days of test before the end of March: its eleventh, at noon.
    found = new_split(spec(), CHAMPION, now=datetime(2024, 3, 31, 23, 59, tzinfo=UTC))
    assert (found.cutoff, found.test_days) == (datetime(2024, 3, 11, tzinfo=UTC), 20)
    found = new_split(spec(test_days=7), CHAMPION, now=datetime(2024, 3, 31, 11, 59, tzinfo=UTC))
    assert (found.cutoff, found.test_days) == (datetime(2024, 3, 23, tzinfo=UTC), 7)
    assert found.validation_days == 10


def test_a_cutoff_that_the_champion_knows_already_is_refused():
    at = datetime(2024, 3, 21, 12, tzinfo=UTC)
    found = new_split(spec(), CHAMPION, now=at)
    assert found == No(
        "the newest cutoff with 20 days of answered questions after it is 2024-03-01, "
        "and version 3 knows all until 2024-03-01",
        asked=True,
    )
    assert not isinstance(new_split(spec(), CHAMPION, now=at + DAY), No)
