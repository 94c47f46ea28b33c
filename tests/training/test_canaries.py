"""Leaks planted on purpose: each is what its name says, whatever order the questions came in."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tests.training.made import MOMENT, make_spec
from training.canaries import plant_canaries, subject_of

KEYS = {"examples": {"sql": "x.sql", "keys": {"parcel_id": "int64", "depot": "string"}}}
SPEC = make_spec(**KEYS)
# Depot, day, hour, answer; neither in order of time nor of depots.
ASKED = [
    ("north", 2, 9, 1.0),
    ("south", 1, 9, 1.0),
    ("north", 1, 9, 1.0),
    ("north", 1, 23, None),
    ("south", 1, 9, 0.0),
    ("north", 3, 0, 1.0),
    (None, 1, 5, 1.0),
]


def questions(asked=ASKED):
    depots, days, hours, labels = zip(*asked, strict=True)
    when = [datetime(2024, 1, d, h, tzinfo=UTC) for d, h in zip(days, hours, strict=True)]
    return pa.table(
        {
            "parcel_id": pa.array(range(len(asked)), pa.int64()),
            "depot": pa.array(depots, pa.string()),
            "event_timestamp": pa.array(when, MOMENT),
            "label": pa.array(labels, pa.float64()),
        }
    )


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        ("future_label", [1.0, 1.0, 1.0, None, 0.0, 1.0, 1.0]),
        # So far, in order of time; at one time in the order of the questions.
        ("backfilled", [2.0, 1.0, 1.0, 1.0, 1.0, 3.0, 1.0]),
        ("stamped_at_start", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("target_encoded", [3.0, 1.0, 3.0, 3.0, 1.0, 3.0, 1.0]),
    ],
)
def test_each_canary_leaks_in_its_own_way(name, planted):
    assert plant_canaries(questions(), SPEC)[name].to_pylist() == planted


def test_the_subject_is_the_key_whose_questions_come_closest_together():
    assert subject_of(questions(), SPEC) == "depot"
    alone = [(str(n), 1, n, 1.0) for n in range(3)]
    assert subject_of(questions(alone), SPEC) == "parcel_id"
