"""What keeps a private view private: each check alone, and all of them at once."""

from datetime import timedelta

import pyarrow as pa
import pytest
from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.types import Float64, Int64, String

from knownat.errors import RepoError
from knownat.stores.checks import check_private_views
from knownat.stores.repo import Repo
from knownat.stores.sharing import check_view, find_view
from tests.stores import shop
from tests.stores.made_store import US, make_store, source, write

PLACE = Entity(name="place", join_keys=["place"], value_type=ValueType.STRING, description="A place")
TIMES = pa.array([shop.at(1), shop.at(2)], US)
GOOD = {
    "place": ["north", "south"],
    "event_timestamp": TIMES,
    "created_timestamp": TIMES,
    "stock_count": pa.array([1, None], pa.int64()),
    "colour": ["red", "blue"],
}


def problems(folder, *, rows=None, entity=PLACE, made_from=None, **changed):
    write(folder / "stock.parquet", pa.table({**GOOD, **(rows or {})}))
    settings = {
        "owner": "ana@example.org",
        "description": "What lies there",
        "ttl": timedelta(days=1),
        "schema": [
            Field(name="stock_count", dtype=Int64, description="Pieces"),
            Field(name="colour", dtype=String, description="Their colour"),
        ],
        "tags": {"sharing": "private"},
        **changed,
    }
    origin = source("stock.parquet", **(made_from or {}))
    store = make_store(
        folder, entity, FeatureView(name="stock", entities=[entity], source=origin, **settings)
    )
    repo = Repo(folder, store)
    return list(check_view(repo, find_view(repo, "stock")))


def test_a_view_that_says_everything_is_fit_for_others(tmp_path):
    assert problems(tmp_path) == []


def test_words_are_missing(tmp_path):
    nameless = Entity(name="place", join_keys=["place"], value_type=ValueType.STRING)
    fields = [Field(name="stock_count", dtype=Int64), Field(name="colour", dtype=String, description="c")]
    assert problems(tmp_path, entity=nameless, owner="ana", description=" ", schema=fields) == [
        "owner 'ana' is no address that somebody could write to",
        "the view has no description",
        "features ['stock_count'] have no description",
        "entity 'place' has no description",
    ]


def test_a_number_needs_a_unit_and_a_text_does_not(tmp_path):
    fields = [
        Field(name="stock", dtype=Float64, description="?"),
        Field(name="colour", dtype=String, description="c"),
    ]
    (problem,) = problems(tmp_path, schema=fields, rows={"stock": [1.0, 2.0]})
    assert problem.startswith("feature 'stock' names no unit; call it e.g. 'stock_count'")


def test_a_ttl_is_decided(tmp_path):
    (problem,) = problems(tmp_path, ttl=timedelta(0))
    assert problem.startswith("nobody has said how long a value stays true")
    assert problems(tmp_path, ttl=timedelta(0), tags={"sharing": "private", "ttl": "forever"}) == []


def test_it_is_known_when_each_value_became_known(tmp_path):
    (problem,) = problems(tmp_path, made_from={"created_timestamp_column": ""})
    assert problem.startswith("its source has no created time")
    loaded = pa.array([shop.at(9), shop.at(9)], US)
    (problem,) = problems(tmp_path, rows={"created_timestamp": loaded})
    assert problem.startswith("all rows became known at 2024-03-29T09:00:00+00:00, as if loaded at once")


def test_keys_fit_their_entities_and_are_there(tmp_path):
    assert problems(tmp_path, rows={"place": pa.array([1, None], pa.int64())}) == [
        "key 'place' is Int64 in the table; its entity is STRING",
        "key 'place' is null in 1 rows, which are nobody's",
    ]


def test_features_mostly_have_values(tmp_path):
    assert problems(tmp_path, rows={"colour": pa.array([None, None], pa.string())}) == [
        "feature 'colour' is null in 100% of the rows; 50% may be"
    ]


def test_two_rows_do_not_contradict_each_other(tmp_path):
    same = {
        "place": ["north", "north"],
        "event_timestamp": [shop.at(1)] * 2,
        "created_timestamp": [shop.at(1)] * 2,
    }
    assert "1 rows have the key and the times of another and other values" in problems(
        tmp_path, rows={**same, "event_timestamp": pa.array(same["event_timestamp"], US),
                        "created_timestamp": pa.array(same["created_timestamp"], US)}
    )  # fmt: skip


def test_who_builds_on_anothers_private_view_is_named(tmp_path):
    write(tmp_path / "stock.parquet", pa.table(GOOD))
    view = FeatureView(
        name="stock",
        entities=[PLACE],
        source=source("stock.parquet"),
        schema=[Field(name="stock_count", dtype=Int64)],
        owner="ana@example.org",
        tags={"sharing": "private"},
    )
    own = FeatureService(name="own", features=[view], owner="ana@example.org")
    other = FeatureService(name="other", features=[view], owner="ben@example.org")
    repo = Repo(tmp_path, make_store(tmp_path, PLACE, view, own, other))
    (problem,) = check_private_views(repo)
    assert problem == (
        "feature service 'other' of ben@example.org reads 'stock', which is private to ana@example.org. "
        "Ask them to share it: knownat share stock."
    )


def test_a_view_that_is_not_there_is_named_with_those_that_are(tmp_path):
    store = make_store(tmp_path, PLACE)
    with pytest.raises(RepoError, match=r"There is no feature view 'stock'; the registry has \[\]"):
        find_view(Repo(tmp_path, store), "stock")
