"""The whole offline API against brute force: aliases, key maps, composite keys, renamed columns.

Every history is asked four ways: by a data frame, by a query over a source, by a range of time,
and each with and without the created cut-off.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from knownat.clock import from_us
from tests.laws.oracle import Row, as_of
from tests.soak import scale
from tests.stores.made_store import make_store

US = pa.timestamp("us", tz="UTC")
STOCK_TYPES = {"amount_y": "int64", "label": "string"}
HEAT_TYPES = {"heat": "float64"}
TTL = 4
PLACES = ["a", "b", None]
SHOPS = [1, 2, None]
SERVICE = "all"
# The same view under two names, each with keys of its own, beside a view with one of the keys.
ALIASES: dict[str, tuple[str, str]] = {"origin": ("from_place", "from_shop"), "target": ("to_place", "shop")}


def definitions() -> list[Any]:
    place = Entity(name="place", join_keys=["place"], value_type=ValueType.STRING)
    shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT64)
    stock = FileSource(
        name="stock",
        path="stock.parquet",
        timestamp_field="happened",
        created_timestamp_column="known_at",
        field_mapping={
            "happened": "event", "published": "known_at", "code": "place", "no": "shop", "sum_x": "amount_y",
        },
    )  # fmt: skip
    heat = FileSource(
        name="heat", path="heat.parquet", timestamp_field="event", created_timestamp_column="made"
    )
    keys = [Field(name="place", dtype=String), Field(name="shop", dtype=Int64)]
    stock_view = FeatureView(
        name="stock",
        entities=[place, shop],
        schema=[*keys, Field(name="amount_y", dtype=Int64), Field(name="label", dtype=String)],
        source=stock,
        ttl=timedelta(microseconds=TTL),
    )
    heat_view = FeatureView(
        name="heat", entities=[place], schema=[keys[0], Field(name="heat", dtype=Float64)], source=heat
    )
    asked = FileSource(name="asked", path="asked.parquet", timestamp_field="event_timestamp")
    views = [
        stock_view.with_name(alias).with_join_key_map({"place": own_place, "shop": own_shop})
        for alias, (own_place, own_shop) in ALIASES.items()
    ]
    service = FeatureService(
        name=SERVICE, features=[*views, heat_view.with_join_key_map({"place": "to_place"})]
    )
    return [place, shop, stock_view, heat_view, asked, service]


@pytest.fixture(scope="module")
def store() -> Iterator[FeatureStore]:
    with TemporaryDirectory() as folder:
        yield make_store(Path(folder), *definitions())


def history(dice: random.Random, keys: Sequence[Sequence[Any]], values: Mapping[str, list[Any]]) -> list[Row]:
    return [
        Row(
            tuple(dice.choice(choices) for choices in keys),
            dice.randrange(-6, 7),
            dice.randrange(-6, 7),
            {name: dice.choice(choices) for name, choices in values.items()},
        )
        for _ in range(dice.randrange(0, 40))
    ]


class World:
    """Tables and questions grown from one seed, and what brute force answers."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        self.stock = history(
            dice, [PLACES, SHOPS], {"amount_y": [None, -1, 2**53 + 1], "label": [None, "", "x", "é"]}
        )
        self.heat = history(dice, [PLACES], {"heat": [None, -0.0, 1.5]})
        self.questions = [
            {
                "n": n,
                "from_place": dice.choice([*PLACES, "z"]),
                "from_shop": dice.choice([*SHOPS, 9]),
                "to_place": dice.choice([*PLACES, "z"]),
                "shop": dice.choice([*SHOPS, 9]),
                "event_timestamp": dice.randrange(-8, 12),
            }
            for n in range(dice.randrange(1, 30))
        ]

    def write(self, folder: Path) -> None:
        stock = table(self.stock, ["code", "no"], ["happened", "published"], STOCK_TYPES)
        pq.write_table(stock.rename_columns({"amount_y": "sum_x"}), folder / "stock.parquet")
        pq.write_table(table(self.heat, ["place"], ["event", "made"], HEAT_TYPES), folder / "heat.parquet")
        pq.write_table(self.asked(), folder / "asked.parquet")

    def asked(self) -> pa.Table:
        kinds = {
            "n": pa.int64(), "from_place": pa.string(), "from_shop": pa.int64(), "to_place": pa.string(),
            "shop": pa.int64(), "event_timestamp": pa.int64(),
        }  # fmt: skip
        plain = pa.Table.from_pylist(self.questions, schema=pa.schema(kinds))
        return plain.set_column(5, "event_timestamp", plain["event_timestamp"].cast(US))

    def answer(self, question: Mapping[str, Any], *, cutoff: bool) -> dict[str, Any]:
        """Everything the service promises for one question, by loops over plain rows."""
        now = question["event_timestamp"]
        answer: dict[str, Any] = {}
        asked = [(alias, tuple(question.get(k) for k in keys)) for alias, keys in ALIASES.items()]
        for alias, key in [*asked, ("heat", (question.get("to_place"),))]:
            heat = alias == "heat"
            rows, types = (self.heat, HEAT_TYPES) if heat else (self.stock, STOCK_TYPES)
            row, expired = as_of(
                [r for r in rows if None not in r.key],
                None if None in key else key,
                types=types, asked=now, known=now, ttl=0 if heat else TTL, created_cutoff=cutoff,
            )  # fmt: skip
            found = row.values if row and not expired else dict.fromkeys(types)
            answer |= {f"{alias}__{name}": value for name, value in found.items()}
        return answer


def table(
    rows: Sequence[Row], keys: Sequence[str], times: Sequence[str], types: Mapping[str, str]
) -> pa.Table:
    kinds = {"code": "string", "place": "string", "no": "int64", **types}
    columns = {
        name: pa.array([row.key[i] for row in rows], pa.type_for_alias(kinds[name]))
        for i, name in enumerate(keys)
    }
    columns[times[0]] = pa.array([row.event for row in rows], pa.int64()).cast(US)
    columns[times[1]] = pa.array([row.created for row in rows], pa.int64()).cast(US)
    for name in types:
        columns[name] = pa.array([row.values[name] for row in rows], pa.type_for_alias(kinds[name]))
    return pa.table(columns)


def ask(store: FeatureStore, **options: Any) -> list[dict[str, Any]]:
    job = store.get_historical_features(
        features=store.get_feature_service(SERVICE), full_feature_names=True, **options
    )
    found = job.to_arrow()
    assert as_plain(job.to_df()) == as_plain(found.to_pandas(types_mapper=pd.ArrowDtype))
    rows: list[dict[str, Any]] = found.set_column(
        found.column_names.index("event_timestamp"),
        "event_timestamp",
        found["event_timestamp"].cast(US).cast(pa.int64()),
    ).to_pylist()
    return rows


def as_plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.drop(columns=["event_timestamp"]).astype(object)
    rows: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict("records")
    return rows


def same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return repr(sorted(left.items())).replace("-0.0", "0.0") == repr(sorted(right.items())).replace(
        "-0.0", "0.0"
    )


@settings(max_examples=scale(25, 600))
@given(seed=st.integers(0, 2**32), cutoff=st.booleans())
def test_a_frame_and_a_query_are_answered_as_by_brute_force(
    store: FeatureStore, seed: int, cutoff: bool
) -> None:
    world = World(seed)
    world.write(Path(store.config.repo_path or ""))
    frame = world.asked().to_pandas(types_mapper=pd.ArrowDtype)
    frame["event_timestamp"] = frame["event_timestamp"].astype("datetime64[us, UTC]")
    by_frame = ask(store, entity_df=frame, filter_by_created_timestamp=cutoff)
    for found, question in zip(by_frame, world.questions, strict=True):
        assert same(found, question | world.answer(question, cutoff=cutoff)), question
    query = "SELECT * FROM asked ORDER BY n DESC"
    by_query = ask(store, entity_df=query, filter_by_created_timestamp=cutoff)
    assert repr(by_query) == repr(by_frame[::-1])


@settings(max_examples=scale(25, 600))
@given(seed=st.integers(0, 2**32), start=st.integers(-7, 7), length=st.integers(0, 14), cutoff=st.booleans())
def test_a_range_asks_each_key_and_event_time_in_it_once(
    store: FeatureStore, seed: int, start: int, length: int, cutoff: bool
) -> None:
    world = World(seed)
    world.write(Path(store.config.repo_path or ""))
    end = start + length
    found = ask(store, start_date=from_us(start), end_date=from_us(end), filter_by_created_timestamp=cutoff)
    names = ["from_place", "from_shop", "to_place", "shop", "event_timestamp"]
    expected = {
        tuple(
            dict(zip(keys, row.key, strict=True)).get(name, row.event if name == names[4] else None)
            for name in names
        )
        for keys, rows in [*((keys, world.stock) for keys in ALIASES.values()), (("to_place",), world.heat)]
        for row in rows
        if None not in row.key and start <= row.event <= end
    }
    assert sorted(map(repr, expected)) == sorted(repr(tuple(row[name] for name in names)) for row in found)
    assert [row["event_timestamp"] for row in found] == sorted(row["event_timestamp"] for row in found)
    for row in found:
        assert same(row, {name: row[name] for name in names} | world.answer(row, cutoff=cutoff)), row
