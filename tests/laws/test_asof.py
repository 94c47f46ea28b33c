"""Laws of the as-of join, held against a brute-force reference on generated histories."""

import math
import random
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from knownat.stores.asof import AsOf, join_as_of, newest_visible
from knownat.stores.tables import FeatureTable
from tests.laws.oracle import Row, as_of, newest, payload

# Few instants around the epoch, so that ties, late rows and corrections are common.
INSTANTS = st.integers(-12, 12)
KEYS = st.sampled_from([1, 2, 3])
CHOICES: dict[str, list[Any]] = {
    "count": [None, -2, 0, 1, 2**53 + 1],
    "mean": [None, float("nan"), float("-inf"), -1.5, -0.0, 0.0, 2.0],
    "name": [None, "", "a", "ab", "\0", "é"],
    "list": [None, [], [1.5], [1.5, -0.0], [float("nan")]],
}
VALUES = st.fixed_dictionaries({name: st.sampled_from(choices) for name, choices in CHOICES.items()})
ROWS = st.builds(Row, key=KEYS | st.none(), event=INSTANTS, created=INSTANTS, values=VALUES)


def crowded_history(seed: int) -> list[Row]:
    """Make a history so full that every rule decides somewhere; lists grown by hypothesis stay thin."""
    dice = random.Random(seed)
    return [
        Row(
            dice.choice([1, 1, 2, None]),
            dice.randrange(-5, 6),
            dice.randrange(-5, 6),
            {name: dice.choice(choices) for name, choices in CHOICES.items()},
        )
        for _ in range(dice.randrange(2, 60))
    ]


def crowded_questions(seed: int) -> list[tuple[int | None, int, int]]:
    dice = random.Random(seed)
    return [(dice.choice([1, 2, 4, None]), dice.randrange(-7, 8), dice.randrange(-7, 8)) for _ in range(40)]


SEEDS = st.integers(0, 2**32)
HISTORIES = st.lists(ROWS, max_size=8) | SEEDS.map(crowded_history)
QUESTIONS = st.lists(st.tuples(KEYS | st.just(4) | st.none(), INSTANTS, INSTANTS), max_size=8) | SEEDS.map(
    crowded_questions
)
TTLS = st.sampled_from([0, 1, 3, 10])
# How many rows may be in memory at once: from one instant at a time to all of them.
LIMITS = st.sampled_from([1, 4, 20, 10**6])

VALUE_TYPES = {"count": pl.Int64(), "mean": pl.Float64(), "name": pl.String(), "list": pl.List(pl.Float64())}
PACKED_TYPES = {"count": "int64", "mean": "float64", "name": "string", "list": "list<float64>"}
MOMENT = pl.Datetime("us", "UTC")


def table_of(history: list[Row]) -> FeatureTable:
    rows = pl.DataFrame(
        [{"entity": r.key, "happened": r.event, "known": r.created, **r.values} for r in history],
        schema={"entity": pl.Int64, "happened": pl.Int64, "known": pl.Int64, **VALUE_TYPES},
    ).with_columns(pl.col("happened", "known").cast(MOMENT))
    return FeatureTable(
        name="generated",
        rows=rows.lazy(),
        keys=("entity",),
        event="happened",
        created="known",
        features=tuple(VALUE_TYPES),
    )


def frame_of(questions: list[tuple[Any, int, int]]) -> pl.DataFrame:
    schema = {"key": pl.Int64, "asked": pl.Int64, "until": pl.Int64}
    return pl.DataFrame(questions, schema=schema, orient="row").with_columns(
        pl.col("asked", "until").cast(MOMENT)
    )


def ask(history: list[Row], questions: list[tuple[Any, int, int]], **options: Any) -> AsOf:
    return join_as_of(
        frame_of(questions),
        table_of(history),
        features=options.pop("features", tuple(VALUE_TYPES)),
        keys={"entity": "key"},
        event_timestamp="asked",
        **options,
    )


def same(left: object, right: object) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    both_nan = isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right)
    return both_nan or (left == right and type(left) is type(right))


def check(found: AsOf, expected: list[tuple[Row | None, bool]]) -> None:
    assert found.values.height == len(expected)
    for place, (row, expired) in enumerate(expected):
        values = found.values.row(place, named=True)
        assert found.expired[place] == expired
        assert found.event_us[place] == (row.event if row else None)
        assert found.created_us[place] == (row.created if row else None)
        for name, value in values.items():
            assert same(value, row.values[name] if row and not expired else None), (place, name)


@given(HISTORIES, QUESTIONS, TTLS, LIMITS)
def test_the_join_equals_brute_force(
    history: list[Row], questions: list[Any], ttl: int, most_rows: int
) -> None:
    found = ask(history, questions, known_at="until", ttl_us=ttl, find_expired=True, most_rows=most_rows)
    check(found, [as_of(history, k, types=PACKED_TYPES, asked=t, known=u, ttl=ttl) for k, t, u in questions])


@given(HISTORIES, QUESTIONS, TTLS, LIMITS)
def test_without_the_cut_off_a_row_is_visible_from_its_event(
    history: list[Row], questions: list[Any], ttl: int, most_rows: int
) -> None:
    found = ask(history, questions, ttl_us=ttl, created_cutoff=False, find_expired=True, most_rows=most_rows)
    expected = [
        as_of(history, k, types=PACKED_TYPES, asked=t, known=t, ttl=ttl, created_cutoff=False)
        for k, t, _ in questions
    ]
    check(found, expected)


@given(HISTORIES, QUESTIONS, TTLS, LIMITS)
def test_leaving_expired_rows_unread_gives_the_same_values(
    history: list[Row], questions: list[Any], ttl: int, most_rows: int
) -> None:
    lean = ask(history, questions, ttl_us=ttl, most_rows=most_rows)
    assert lean.values.equals(ask(history, questions, ttl_us=ttl, find_expired=True).values)


@given(HISTORIES, QUESTIONS)
def test_asking_for_fewer_features_picks_the_same_rows(history: list[Row], questions: list[Any]) -> None:
    everything = ask(history, questions).values
    for name in VALUE_TYPES:
        assert ask(history, questions, features=[name]).values[name].equals(everything[name])


@given(HISTORIES, st.lists(ROWS, max_size=10), QUESTIONS, INSTANTS)
def test_rows_that_become_visible_later_change_nothing_now(
    history: list[Row], later: list[Row], questions: list[Any], now: int
) -> None:
    unseen = [row for row in later if max(row.event, row.created) > now]
    asked = [(key, now, now) for key, _, _ in questions]
    assert ask(history + unseen, asked).values.equals(ask(history, asked).values)


@given(HISTORIES, QUESTIONS, st.randoms(use_true_random=False))
def test_the_order_and_repetition_of_rows_do_not_matter(
    history: list[Row], questions: list[Any], shuffle: Any
) -> None:
    again = history + history[::2]
    shuffle.shuffle(again)
    assert ask(again, questions).values.equals(ask(history, questions).values)


@given(HISTORIES, st.none() | INSTANTS, INSTANTS)
def test_an_increment_finds_the_newest_row_of_every_key_that_changed(
    history: list[Row], since: int | None, until: int
) -> None:
    found = newest_visible(table_of(history), since_us=since, until_us=until)
    visible = [r for r in history if r.key is not None and max(r.event, r.created) <= until]
    changed = {r.key for r in visible if since is None or max(r.event, r.created) > since}
    assert sorted(found["entity"]) == sorted(changed)
    for got in found.iter_rows(named=True):
        want = newest([r for r in visible if r.key == got["entity"]], PACKED_TYPES)
        assert want is not None
        assert (got["__event_us"], got["__created_us"]) == (want.event, want.created)
        assert payload(got, PACKED_TYPES) == payload(want.values, PACKED_TYPES)


@given(HISTORIES, st.lists(INSTANTS, min_size=1, max_size=6))
def test_increments_one_after_another_end_where_one_run_does(history: list[Row], steps: list[int]) -> None:
    table = table_of(history)
    online: dict[int, tuple[Any, ...]] = {}
    since = None
    for until in sorted(steps):
        online |= rows_by_key(newest_visible(table, since_us=since, until_us=until))
        since = until
    assert online == rows_by_key(newest_visible(table, since_us=None, until_us=max(steps)))


def rows_by_key(found: pl.DataFrame) -> dict[int, tuple[Any, ...]]:
    return {
        row["entity"]: (row["__event_us"], row["__created_us"], payload(row, PACKED_TYPES))
        for row in found.iter_rows(named=True)
    }
