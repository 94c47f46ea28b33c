"""The join against brute force for every kind of key, many keys, few keys and far times."""

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knownat.stores.asof import join_as_of
from knownat.stores.tables import FeatureTable
from tests.laws.oracle import Row, as_of
from tests.soak import scale

TYPES = {"value": "int64"}
SECOND = 1_000_000
DAY = 86_400 * SECOND
# 2013-03-31 and 2013-10-27, when Berlin puts its clocks forward and back at 01:00 UTC.
FORWARD, BACK = 1_364_691_600 * SECOND, 1_382_835_600 * SECOND

MAKERS: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "small integers": lambda k: (k,),
    "integers far apart": lambda k: ((k - 20) * 10**15,),
    "text": lambda k: (f"kunde-{k}\0é",),
    "booleans": lambda k: (k % 2 == 0,),
    "two keys": lambda k: (k % 3, f"{k // 3}"),
    "three keys": lambda k: (k % 2 == 0, k % 3, str(k)),
    "no keys": lambda k: (),
}


def check(
    make: Callable[[int], tuple[Any, ...]],
    history: list[tuple[int, int, int]],
    questions: list[tuple[int, int]],
    *,
    ttl: int,
    most_rows: int,
    zone: str = "UTC",
) -> None:
    """Join rows (key, event, created), the value being their number, and compare with the oracle."""
    moment = pl.Datetime("us", "UTC")
    width = len(make(0))
    keys = [f"k{i}" for i in range(width)]
    kinds = {name: pl.Series([part]).dtype for name, part in zip(keys, make(0), strict=True)}
    columns = {name: [make(k)[i] for k, _, _ in history] for i, name in enumerate(keys)}
    times = {"event": [e for _, e, _ in history], "created": [c for _, _, c in history]}
    rows = pl.DataFrame(
        columns | times | {"value": range(len(history))},
        schema_overrides=kinds | {"event": moment, "created": moment},
    ).with_columns(pl.col("event", "created").dt.convert_time_zone(zone))
    table = FeatureTable(
        name="made", rows=rows.lazy(), keys=tuple(keys), event="event", created="created", features=("value",)
    )
    asked = {f"a{i}": [make(k)[i] for k, _ in questions] for i in range(width)}
    asked_kinds = {f"a{i}": kind for i, kind in enumerate(kinds.values())}
    examples = pl.DataFrame(
        asked | {"at": [t for _, t in questions]}, schema_overrides=asked_kinds | {"at": moment}
    )
    found = join_as_of(
        examples.with_columns(pl.col("at").dt.convert_time_zone(zone)),
        table,
        features=["value"],
        keys={f"k{i}": f"a{i}" for i in range(width)},
        event_timestamp="at",
        ttl_us=ttl,
        most_rows=most_rows,
    )
    made = [Row(make(k), e, c, {"value": i}) for i, (k, e, c) in enumerate(history)]
    expected = [as_of(made, make(k), types=TYPES, asked=t, known=t, ttl=ttl) for k, t in questions]
    values = [row.values["value"] if row and not expired else None for row, expired in expected]
    assert found.values["value"].to_list() == values


def generated(seed: int, *, keys: int, span: int, rows: int, start: int = 0) -> tuple[Any, Any]:
    """Make rows and questions in a span of time; a row in four is late, and a key in two frequent."""
    dice = random.Random(seed)

    def key() -> int:
        return dice.randrange(keys) if dice.random() < 0.5 else dice.randrange(min(2, keys))

    def moment() -> int:
        return start + dice.randrange(-span, span + 1)

    history = []
    for _ in range(dice.randrange(rows)):
        event = moment()
        late = dice.randrange(span + 1) if dice.random() < 0.25 else 0
        history.append((key(), event, event + late))
    return history, [(key(), moment()) for _ in range(dice.randrange(rows))]


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=scale(40, 1_000))
@given(st.integers(0, 2**32), st.sampled_from([0, 3, 15]), st.sampled_from([5, 10**6]))
def test_every_kind_of_key(kind: str, seed: int, ttl: int, most_rows: int) -> None:
    history, questions = generated(seed, keys=12, span=15, rows=60)
    check(MAKERS[kind], history, questions, ttl=ttl, most_rows=most_rows)


@settings(max_examples=scale(40, 1_000))
@given(st.integers(0, 2**32), st.sampled_from([3, 10**6]))
def test_many_keys_over_many_centuries_do_not_fit_into_one_integer(seed: int, most_rows: int) -> None:
    history, questions = generated(seed, keys=90, span=10**17, rows=150)
    check(MAKERS["integers far apart"], history, questions, ttl=10**16, most_rows=most_rows)


@pytest.fixture(params=["UTC", "Europe/Berlin"])
def local_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", request.param)
        time.tzset()
        yield os.environ["TZ"]
    time.tzset()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("start", [FORWARD, BACK, -DAY])
def test_no_clock_that_is_put_forward_or_back_moves_a_row(local_time: str, zone: str, start: int) -> None:
    for seed in range(scale(10, 200)):
        history, questions = generated(seed, keys=3, span=3 * 3_600, rows=60)
        history = [(k, start + e * SECOND, start + c * SECOND) for k, e, c in history]
        questions = [(k, start + t * SECOND) for k, t in questions]
        check(MAKERS["text"], history, questions, ttl=3_600 * SECOND, most_rows=10**6, zone=zone)
