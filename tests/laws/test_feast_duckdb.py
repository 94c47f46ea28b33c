"""Feast's own duckdb store beside ours: where it agrees with brute force, and each way in which it does not.

Every disagreement of ``docs/reference/feast-duckdb.md`` is one test here, on the fewest rows that show it.
The tests fail when Feast mends one: then the page is out of date.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RegistryConfig, RepoConfig
from feast.types import Int64, String
from hypothesis import given, settings
from hypothesis import strategies as st
from ibis.common.exceptions import IbisTypeError

from knownat.clock import from_us
from knownat.errors import RepoError
from tests.laws.oracle import Row, as_of
from tests.soak import scale

US = pa.timestamp("us", tz="UTC")
DAY = 86_400_000_000
TTL = 4 * DAY
TYPES = {"amount": "int64", "label": "string"}
OURS, THEIRS = "knownat.stores.offline.AsOfOfflineStore", "duckdb"
FEATURES = ["stock:amount", "stock:label"]

# Ibis still calls what DuckDB has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")


def open_store(folder: Path, kind: str, **source: Any) -> FeatureStore:
    config = RepoConfig(
        project="made",
        provider="local",
        registry=RegistryConfig(path=str(folder / f"{kind}.db")),
        online_store=None,
        offline_store={"type": kind},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    place = Entity(name="place", join_keys=["place"], value_type=ValueType.STRING)
    settings: dict[str, Any] = {
        "path": str(folder / "stock.parquet"),
        "timestamp_field": "event_timestamp",
        "created_timestamp_column": "created_timestamp",
        **source,
    }
    view = FeatureView(
        name="stock",
        entities=[place],
        schema=[
            Field(name="place", dtype=String),
            Field(name="amount", dtype=Int64),
            Field(name="label", dtype=String),
        ],
        source=FileSource(name="stock", **settings),
        ttl=timedelta(microseconds=TTL),
    )
    store = FeatureStore(config=config)
    store.apply([place, view])
    return store


def write(folder: Path, rows: Sequence[Row]) -> None:
    columns = {
        "place": pa.array([row.key for row in rows], pa.string()),
        "event_timestamp": pa.array([row.event for row in rows], pa.int64()).cast(US),
        "created_timestamp": pa.array([row.created for row in rows], pa.int64()).cast(US),
        "amount": pa.array([row.values["amount"] for row in rows], pa.int64()),
        "label": pa.array([row.values["label"] for row in rows], pa.string()),
    }
    pq.write_table(pa.table(columns), folder / "stock.parquet")


def ask(store: FeatureStore, asked: Sequence[tuple[str | None, int]], **options: Any) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "n": range(len(asked)),
            "place": [place for place, _ in asked],
            "event_timestamp": pd.Series([from_us(us) for _, us in asked]).astype("datetime64[us, UTC]"),
        }
    )
    return store.get_historical_features(frame, FEATURES, **options).to_df()


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    frame = frame.sort_values("n")[["amount", "label"]].astype(object)
    return frame.where(frame.notna(), None).to_dict("records")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        write(Path(name), [row("a", 0)])
        yield Path(name)


@pytest.fixture(scope="module")
def both(folder: Path) -> dict[str, FeatureStore]:
    return {kind: open_store(folder, kind) for kind in (OURS, THEIRS)}


def row(
    place: str, event: int, created: int | None = None, amount: int | None = 1, label: str | None = "x"
) -> Row:
    return Row(place, event, event if created is None else created, {"amount": amount, "label": label})


@settings(max_examples=scale(15, 300), deadline=None)
@given(seed=st.integers(0, 2**32), cutoff=st.booleans())
def test_where_nothing_ties_feasts_duckdb_store_agrees_with_brute_force_and_with_ours(
    folder: Path, both: dict[str, FeatureStore], seed: int, cutoff: bool
) -> None:
    dice = random.Random(seed)
    places, instants = ["a", "b", "ü"], [day * DAY + dice.choice([0, 1, DAY - 1]) for day in range(-6, 8)]
    times = {(dice.choice(places), dice.choice(instants), dice.choice(instants)) for _ in range(30)}
    rows = [
        row(place, event, created, dice.choice([None, -1, 2**40]), dice.choice([None, "", "x", "é"]))
        for place, event, created in sorted(times)
    ]
    write(folder, rows)
    asked = [
        (dice.choice([*places, "z"]), dice.choice(instants) + dice.choice([-1, 0, TTL])) for _ in range(25)
    ]
    expected = []
    for place, us in asked:
        found, expired = as_of(rows, place, types=TYPES, asked=us, known=us, ttl=TTL, created_cutoff=cutoff)
        expected.append(dict.fromkeys(TYPES) if found is None or expired else dict(found.values))
    for store in both.values():
        assert plain(ask(store, asked, filter_by_created_timestamp=cutoff)) == expected


def answers(folder: Path, asked: Sequence[tuple[str | None, int]]) -> dict[str, list[Any]]:
    """The amounts that each store finds for the same questions."""
    return {
        kind: [found["amount"] for found in plain(ask(open_store(folder, kind), asked))]
        for kind in (OURS, THEIRS)
    }


@pytest.mark.parametrize(("amounts", "theirs"), [((5, 9), 5), ((9, 5), 9)])
def test_rows_that_tie_in_full_are_told_apart_by_their_place_in_the_file(
    tmp_path: Path, amounts: tuple[int, int], theirs: int
) -> None:
    write(tmp_path, [row("a", 0, amount=amount) for amount in amounts])
    assert answers(tmp_path, [("a", 1)]) == {OURS: [9], THEIRS: [theirs]}


def test_integers_beside_a_null_become_doubles(tmp_path: Path) -> None:
    write(tmp_path, [row("a", 0, amount=2**53 + 1), row("b", 0, amount=None)])
    assert answers(tmp_path, [("a", 1), ("b", 1)]) == {OURS: [2**53 + 1, None], THEIRS: [2**53, None]}


def test_a_row_without_a_created_time_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, [row("a", 0)])
    table = pq.read_table(tmp_path / "stock.parquet")
    pq.write_table(table.set_column(2, "created_timestamp", pa.array([None], US)), tmp_path / "stock.parquet")
    with pytest.raises(RepoError, match="'created_timestamp' is null in 1 rows"):
        ask(open_store(tmp_path, OURS), [("a", 1)], filter_by_created_timestamp=True)
    theirs = ask(open_store(tmp_path, THEIRS), [("a", 1)], filter_by_created_timestamp=True)
    assert plain(theirs) == [{"amount": None, "label": None}]


def test_a_time_column_that_is_mapped_by_its_own_name_is_not_found(tmp_path: Path) -> None:
    write(tmp_path, [row("a", 0, amount=7)])
    table = pq.read_table(tmp_path / "stock.parquet")
    names = ["happened" if name == "event_timestamp" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), tmp_path / "stock.parquet")
    mapped = {"field_mapping": {"happened": "event_timestamp"}, "timestamp_field": "happened"}
    assert plain(ask(open_store(tmp_path, OURS, **mapped), [("a", 1)]))[0]["amount"] == 7
    with pytest.raises(IbisTypeError, match="'happened' is not found"):
        ask(open_store(tmp_path, THEIRS, **mapped), [("a", 1)])


def test_a_relative_path_is_looked_for_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write(tmp_path, [row("a", 0, amount=7)])
    assert plain(ask(open_store(tmp_path, OURS, path="stock.parquet"), [("a", 1)]))[0]["amount"] == 7
    with pytest.raises(duckdb.IOException, match="No files found"):
        ask(open_store(tmp_path, THEIRS, path="stock.parquet"), [("a", 1)])


def test_neither_a_query_nor_a_range_of_time_is_taken(tmp_path: Path) -> None:
    write(tmp_path, [row("a", 0, amount=7)])
    ours, theirs = open_store(tmp_path, OURS), open_store(tmp_path, THEIRS)
    query = "SELECT 'a' AS place, TIMESTAMPTZ '2020-01-01' AS event_timestamp"
    assert len(ours.get_historical_features(query, FEATURES).to_df()) == 1
    with pytest.raises(AttributeError, match="'str' object"):
        theirs.get_historical_features(query, FEATURES).to_df()
    span = {"features": FEATURES, "start_date": from_us(-5), "end_date": from_us(5)}
    assert ours.get_historical_features(**span).to_df()["amount"].tolist() == [7]
    with pytest.raises(TypeError, match="unexpected keyword argument 'start_date'"):
        theirs.get_historical_features(**span).to_df()
