"""Law 3 on Spark: brute force agrees on generated histories, all of them asked in one job.

A history's number is one more key, so a hundred histories, each with its own ties, late rows,
backfills and nulls, cost one shuffle.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pytest

from tests.laws.oracle import Row, as_of, newest
from tests.soak import scale
from tests.spark import open_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from knownat.stores.spark_tables import SparkTable

pytestmark = pytest.mark.xdist_group("spark")

HISTORIES = scale(100, 2_000)
MOMENT = pa.timestamp("us", tz="UTC")
# Clocks go forward at 01:00 UTC on 31 March 2024 and back at 01:00 UTC on 27 October.
ORIGINS_US = (0, 1_711_846_800_000_000, 1_729_990_800_000_000, -62_000_000_000_000_000)
UNITS_US = (1, 1_000_000, 3_600_000_000)

CHOICES: dict[str, list[Any]] = {
    "count": [None, -(2**63), -2, 0, 1, 2**53 + 1, 2**63 - 1],
    "mean": [None, math.nan, -math.inf, -1.5, -0.5, -0.0, 0.0, 2.0, math.inf],
    "small": [None, -(2**31), -1, 0, 7],
    "ratio": [None, math.nan, -0.25, 0.5],
    "flag": [None, False, True],
    "name": [None, "", "a", "ab", "b", "\0", "é", "z" * 40],
    "raw": [None, b"", b"\x00", b"\xff", b"\x7f\x00"],
    "when": [None, -1, 0, 1_711_846_800_000_001],
    "marks": [None, [], [1.5], [-1.5, 0.0], [1.5, math.nan]],
    "words": [None, [], ["abcd"], ["", ""], ["a", "bé"]],
}
TYPES = {
    "count": "int64",
    "mean": "float64",
    "small": "int32",
    "ratio": "float32",
    "flag": "bool",
    "name": "string",
    "raw": "bytes",
    "when": "timestamp",
    "marks": "list<float64>",
    "words": "list<string>",
}
ARROW = {
    "count": pa.int64(),
    "mean": pa.float64(),
    "small": pa.int32(),
    "ratio": pa.float32(),
    "flag": pa.bool_(),
    "name": pa.string(),
    "raw": pa.binary(),
    "when": MOMENT,
    "marks": pa.list_(pa.float64()),
    "words": pa.list_(pa.string()),
}


class Question(NamedTuple):
    key: int | None
    asked: int
    known: int


class History(NamedTuple):
    """Rows and questions on one key's scale of time."""

    rows: Sequence[Row]
    questions: Sequence[Question]
    unit: int


def make_history(seed: int) -> History:
    """Make a history so crowded that every rule decides somewhere; a few have no rows at all."""
    dice = random.Random(seed)
    origin, unit = dice.choice(ORIGINS_US), dice.choice(UNITS_US)

    def instant() -> int:
        return origin + unit * dice.randrange(-5, 6)

    chosen = dice.sample(sorted(CHOICES), dice.randrange(1, len(CHOICES) + 1))
    rows = [
        Row(
            dice.choice([1, 1, 2, None]),
            instant(),
            instant(),
            {name: dice.choice(some) if name in chosen else None for name, some in CHOICES.items()},
        )
        for _ in range(dice.choice([0, 1, 5, 20, 60]))
    ]
    questions = [
        Question(dice.choice([1, 1, 2, 4, None]), instant(), instant() + dice.choice([-1, 0, 0, 1]))
        for _ in range(12)
    ]
    return History(rows, questions, unit)


@pytest.fixture(scope="module")
def spark() -> "SparkSession":
    return open_spark()


@pytest.fixture(scope="module")
def histories() -> list[History]:
    return [make_history(seed) for seed in range(HISTORIES)]


@pytest.fixture(scope="module")
def table(spark: "SparkSession", histories: list[History]) -> "SparkTable":
    from knownat.stores.spark_tables import SparkTable

    listed = [(number, row) for number, history in enumerate(histories) for row in history.rows]
    random.Random(0).shuffle(listed)
    columns = {
        "history": pa.array([number for number, _ in listed], pa.int32()),
        "entity": pa.array([row.key for _, row in listed], pa.int64()),
        "happened": pa.array([row.event for _, row in listed], MOMENT),
        "known": pa.array([row.created for _, row in listed], MOMENT),
    }
    columns |= {n: pa.array([row.values[n] for _, row in listed], kind) for n, kind in ARROW.items()}
    return SparkTable(
        name="generated",
        rows=spark.createDataFrame(pa.table(columns)),
        keys=("history", "entity"),
        event="happened",
        created="known",
        features=tuple(CHOICES),
        types=TYPES,
    )


@pytest.fixture(scope="module")
def questions(spark: "SparkSession", histories: list[History]) -> "DataFrame":
    listed = [(number, question) for number, h in enumerate(histories) for question in h.questions]
    columns = {
        "place": pa.array(range(len(listed)), pa.int64()),
        "of": pa.array([number for number, _ in listed], pa.int64()),
        "who": pa.array([question.key for _, question in listed], pa.int64()),
        "asked": pa.array([question.asked for _, question in listed], MOMENT),
        "until": pa.array([question.known for _, question in listed], MOMENT),
    }
    return spark.createDataFrame(pa.table(columns))


def same(left: Any, right: Any) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right):
        return True
    return bool(left == right) and type(left) is type(right)


def values_of(row: Row) -> dict[str, Any]:
    """A row's values as they come back from Arrow."""
    return {name: pa.array([row.values[name]], kind)[0].as_py() for name, kind in ARROW.items()}


@pytest.mark.parametrize("created_cutoff", [True, False], ids=["cut-off", "no cut-off"])
@pytest.mark.parametrize("ttl_units", [0, 1, 3])
def test_the_join_equals_brute_force(
    table: "SparkTable",
    questions: "DataFrame",
    histories: list[History],
    ttl_units: int,
    created_cutoff: bool,
) -> None:
    from knownat.stores.spark_asof import Ask, join_as_of

    # One ttl for every scale of time: an edge for one of them, long or short for the others.
    ttl = ttl_units * 3_600_000_000
    ask = Ask(
        table=table,
        keys={"history": "of", "entity": "who"},
        features={name: f"got_{name}" for name in CHOICES},
        ttl_us=ttl,
        found="found",
    )
    frame = join_as_of(
        questions, [ask], event_timestamp="asked", known_at="until", created_cutoff=created_cutoff
    )
    found = sorted(frame.toArrow().to_pylist(), key=lambda row: row["place"])
    asked = [(history, question) for history in histories for question in history.questions]
    assert [row["place"] for row in found] == list(range(len(asked)))
    for got, (history, question) in zip(found, asked, strict=True):
        row, expired = as_of(
            history.rows,
            question.key,
            types=TYPES,
            asked=question.asked,
            known=question.known,
            ttl=ttl,
            created_cutoff=created_cutoff,
        )
        assert got["found"] == {
            "__event_us": row.event if row else None,
            "__created_us": row.created if row else None,
            "expired": expired,
        }
        want: Mapping[str, Any] = values_of(row) if row and not expired else dict.fromkeys(CHOICES)
        assert {n: got[f"got_{n}"] for n in CHOICES if not same(got[f"got_{n}"], want[n])} == {}, want


@pytest.mark.parametrize("since_units", [None, -3, 0, 5])
def test_an_increment_finds_the_newest_row_of_every_key_that_changed(
    table: "SparkTable", histories: list[History], since_units: int | None
) -> None:
    from knownat.stores.spark_asof import newest_visible

    until = ORIGINS_US[1] + 2 * UNITS_US[2]
    since = None if since_units is None else ORIGINS_US[1] + since_units * UNITS_US[2]
    found = newest_visible(table, since_us=since, until_us=until).toArrow().to_pylist()
    expected = {}
    for number, history in enumerate(histories):
        visible = [r for r in history.rows if r.key is not None and max(r.event, r.created) <= until]
        for key in {r.key for r in visible if since is None or max(r.event, r.created) > since}:
            row = newest([r for r in visible if r.key == key], TYPES)
            assert row is not None
            expected[number, key] = row
    assert sorted((got["history"], got["entity"]) for got in found) == sorted(expected)
    assert since is None or expected or since_units == 5
    for got in found:
        want = expected[got["history"], got["entity"]]
        assert (got["__event_us"], got["__created_us"]) == (want.event, want.created)
        assert got["__visible_us"] == max(want.event, want.created)
        given = values_of(want)
        assert {name: got[name] for name in CHOICES if not same(got[name], given[name])} == {}


def test_views_of_the_same_and_of_other_keys_are_answered_beside_one_another(
    spark: "SparkSession", table: "SparkTable", questions: "DataFrame", histories: list[History]
) -> None:
    from knownat.stores.spark_asof import Ask, join_as_of
    from knownat.stores.spark_tables import SparkTable

    keys = {"history": "of", "entity": "who"}
    # The same rows once more, seen late; and what anybody did in a history, whoever it was.
    late = SparkTable(
        name="late",
        rows=table.rows.where("known > happened"),
        keys=table.keys,
        event=table.event,
        created=table.created,
        features=table.features,
        types=TYPES,
    )
    anybody = SparkTable(
        name="anybody",
        rows=table.rows,
        keys=("history",),
        event=table.event,
        created=None,
        features=table.features,
        types=TYPES,
    )
    asks = [
        Ask(table=late, keys=keys, features={"count": "late_count"}),
        Ask(table=anybody, keys={"history": "of"}, features={"words": "any_words"}),
        Ask(table=table, keys=keys, features={"name": "name"}, ttl_us=UNITS_US[2]),
    ]
    both = join_as_of(questions, asks, event_timestamp="asked").toArrow().sort_by("place")
    assert both.column_names == [*questions.columns, "late_count", "any_words", "name"]
    for ask in asks:
        alone = join_as_of(questions, [ask], event_timestamp="asked").toArrow().sort_by("place")
        for name in ask.features.values():
            assert both[name].equals(alone[name])
            assert both[name].null_count < both.num_rows


def test_questions_outside_the_times_that_tables_were_read_for_are_refused(
    table: "SparkTable", questions: "DataFrame"
) -> None:
    from pyspark.errors import PySparkException

    from knownat.stores.spark_asof import Ask, Asked, join_as_of

    # A query that is read twice may name other times the second time; its rows would be missing.
    ask = Ask(table=table, keys={"history": "of", "entity": "who"}, features={"count": "count"})
    narrow = Asked(first_us=0, last_us=10)
    frame = join_as_of(questions, [ask], event_timestamp="asked", asked=narrow)
    with pytest.raises(PySparkException, match=r"The examples changed while they were read"):
        frame.toArrow()


@pytest.mark.parametrize("ttl_us", [0, UNITS_US[2]])
def test_leaving_out_rows_that_nobody_can_see_changes_nothing(
    table: "SparkTable", questions: "DataFrame", histories: list[History], ttl_us: int
) -> None:
    from knownat.stores.spark_asof import Ask, Asked, join_as_of

    times = [question.asked for history in histories for question in history.questions]
    spring = [time for time in times if abs(time - ORIGINS_US[1]) < 10 * UNITS_US[2]]
    asked = Asked(first_us=min(spring), last_us=max(spring))
    some = questions.where(f"unix_micros(asked) BETWEEN {asked.first_us} AND {asked.last_us}")
    names = {name: f"got_{name}" for name in CHOICES}
    ask = Ask(table=table, keys={"history": "of", "entity": "who"}, features=names, ttl_us=ttl_us)
    lean, whole = (
        join_as_of(some, [ask], event_timestamp="asked", asked=span).toArrow().sort_by("place")
        for span in (asked, None)
    )
    assert lean.to_pandas().equals(whole.to_pandas())
    assert lean["got_count"].null_count < lean.num_rows
