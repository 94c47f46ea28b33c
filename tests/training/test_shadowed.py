"""Champion and shadow on the same questions: which rows are looked at, and when they are enough."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.contract.prediction_log import LABEL_SCHEMA, prediction_schema
from knownat.contract.workspace import Workspace
from tests.scoring.small_release import PLAN, make_spec
from training.shadowed import Waiting, compare_answers

SINCE = datetime(2024, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = {"retraining": {"shadow_answers": 60, "by": 0.01}, "monitoring": {"label_wait_hours": 24}}


class Log:
    """What a champion, version 1, and its shadow, version 2, answered, and the labels that came."""

    def __init__(self, folder):
        self.workspace = Workspace.at(folder / "feature_repo")
        self.answers = {"1": [], "2": []}
        self.labels = []

    def ask(self, number, *, at=None, depot=7, request=None, roles=(), **options):
        """Log one question of both sides; there are three a day, so that 60 take 20 days."""
        at = SINCE + 8 * HOUR * number if at is None else at
        sides = zip("12", roles or ("champion", "shadow"), strict=True)
        for version, role in sides:
            row = {
                "prediction_id": f"late_parcel.{version}{number:04d}",
                "request_id": request or f"r{number}",
                "logged_at": at,
                "event_timestamp": at,
                "model": "late_parcel",
                "version": version,
                "role": role,
                "key__depot_id": depot,
                "served__depot__status": "present",
                "degraded": False,
                "score": options.get(role, 0.5),
                "latency_us": 1,
            }
            self.answers[version].append(row)
        if (label := options.get("label", 1.0)) is not None:
            known = options.get("known", at + HOUR)
            self.labels.append((f"late_parcel.1{number:04d}", label, known, options.get("posted", known)))

    def compare(self, *, now, classes=0, **changes):
        plan = PLAN.model_copy(update={"classes": classes})
        for version, rows in self.answers.items():
            folder = self.workspace.predictions / "late_parcel" / version
            folder.mkdir(parents=True)
            table = pa.Table.from_pylist(rows, prediction_schema(plan))
            pq.write_table(table, folder / "segment-a.parquet")
        folder = self.workspace.predictions / "labels"
        folder.mkdir(parents=True)
        columns = [list(column) for column in zip(*self.labels, strict=True)] or [[], [], [], []]
        pq.write_table(pa.table(columns, schema=LABEL_SCHEMA), folder / "segment-a.parquet")
        spec = make_spec(**{**RULES, "metric": "brier", **changes})
        return compare_answers(self.workspace, spec, champion="1", shadow="2", since=SINCE, now=now)


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


def fill(log, count, **options):
    for number in range(count):
        log.ask(number, **options)


def test_the_first_whole_blocks_that_are_enough_are_compared_whatever_came_after(log):
    fill(log, 60, champion=0.5, shadow=0.9)
    for number in range(60, 90):
        log.ask(number, champion=0.9, shadow=0.1)
    found = log.compare(now=SINCE + 60 * DAY)
    assert (found.answers, found.blocks, found.until) == (60, 20, SINCE + 59 * 8 * HOUR)
    # The shadow's squared error is smaller by 0.25 - 0.01 on every row.
    assert (found.lead.value, found.lead.low, found.lead.high) == pytest.approx((0.24, 0.24, 0.24))


@pytest.mark.parametrize(("answers", "enough"), [(60, 60), (61, 63), (63, 63), (64, 66)])
def test_so_many_answers_as_are_declared_are_waited_for(log, answers, enough):
    fill(log, 90)
    found = log.compare(now=SINCE + 60 * DAY, retraining={"shadow_answers": answers})
    assert found.answers == enough


def test_twenty_blocks_are_waited_for_however_many_answers_there_are(log):
    for number in range(200):
        log.ask(number, at=SINCE + 19 * DAY * number / 200)
    assert log.compare(now=SINCE + 60 * DAY) == Waiting(200, 19)


def test_a_block_that_may_still_fill_up_is_not_whole(log):
    fill(log, 60)
    assert log.compare(now=SINCE + 60 * DAY) == Waiting(60, 20)


@pytest.mark.parametrize(("later", "answers"), [(timedelta(0), 60), (timedelta(microseconds=1), 61)])
def test_a_question_is_looked_at_once_its_label_had_the_time_to_come(log, later, answers):
    fill(log, 62)
    # The next was asked as the 21st day began; a day later its label is waited for no more.
    assert log.compare(now=SINCE + 21 * DAY + later, retraining={"shadow_answers": 62}) == Waiting(
        answers, 20 + (answers > 60)
    )


def test_before_any_label_can_have_come_nothing_is_there(log):
    fill(log, 2)
    assert log.compare(now=SINCE + HOUR) == Waiting(0, 0)


NOW = SINCE + 40 * DAY


@pytest.mark.parametrize(
    "left_out",
    [
        {"label": None},
        {"known": NOW + HOUR, "posted": NOW},
        {"known": NOW, "posted": NOW + HOUR},
        {"roles": ("champion", "pinned")},
        {"roles": ("challenger", "shadow")},
        {"at": SINCE - HOUR},
    ],
    ids=str,
)
def test_only_what_both_answered_in_their_roles_and_has_a_known_label_counts(log, left_out):
    log.ask(0, known=NOW, posted=NOW)
    log.ask(1, **left_out)
    assert log.compare(now=NOW) == Waiting(1, 1)


def test_only_the_same_question_of_the_same_request_is_a_pair(log):
    log.ask(0)
    log.ask(1)
    log.answers["2"][0]["request_id"] = "other"
    log.answers["2"][1]["key__depot_id"] = 8
    assert log.compare(now=NOW) == Waiting(0, 0)


def test_a_question_without_a_key_and_one_asked_twice_in_a_request_count_as_often_as_they_were_asked(log):
    log.ask(0, depot=None)
    for number in (1, 2, 3):
        log.ask(number, at=SINCE + DAY, request="batch", depot=9 if number > 1 else None)
    assert log.compare(now=NOW) == Waiting(4, 2)


def test_versions_of_several_classes_are_compared_by_their_shares(log):
    fill(log, 90, label=2.0)
    for side, shares in (("1", (0.2, 0.3, 0.5)), ("2", (0.1, 0.1, 0.8))):
        for row in log.answers[side]:
            row.update({f"class__{number}": share for number, share in enumerate(shares)})
            row["score"] = max(shares)
    found = log.compare(now=NOW, classes=3, task="multiclass", metric="log_loss")
    assert found.lead.value == pytest.approx(np.log(0.8 / 0.5))
