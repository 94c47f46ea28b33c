"""What keeps a private view private: each check alone, and all of them at once."""

import warnings
from datetime import timedelta

import pyarrow as pa
import pytest
from feast import Entity, FeatureService, FeatureView, Field, PushSource, StreamFeatureView, ValueType
from feast.types import Float64, Int64, String

import knownat.stores.sharing as sharing
from knownat.errors import RepoError
from knownat.stores.checks import check_private_views
from knownat.stores.repo import Repo
from knownat.stores.sharing import Shared, check_view, find_view, share_view
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


def test_what_repeats_another_row_or_corrects_it_later_contradicts_nothing(tmp_path):
    rows = {
        "place": ["north", "north", "north", "south"],
        "event_timestamp": pa.array([shop.at(1)] * 4, US),
        "created_timestamp": pa.array([shop.at(1), shop.at(1), shop.at(5), shop.at(2)], US),
        "stock_count": [1, 1, 2, 3],
        "colour": ["red"] * 4,
    }
    assert problems(tmp_path, rows=rows) == []


def test_a_table_without_rows_has_no_values(tmp_path):
    empty = pa.table({**GOOD, "stock_count": pa.array([1, 2], pa.int64())}).slice(0, 0)
    assert problems(tmp_path, rows={name: empty[name] for name in empty.column_names}) == [
        "feature 'stock_count' is null in 100% of the rows; 50% may be",
        "feature 'colour' is null in 100% of the rows; 50% may be",
    ]


def test_a_table_of_one_time_was_not_loaded_at_once(tmp_path):
    same = pa.array([shop.at(1), shop.at(1)], US)
    assert problems(tmp_path, rows={"event_timestamp": same, "created_timestamp": same}) == []


def private(folder, **changed):
    """A repo with a private view, and its definition where added ones lie."""
    write(folder / "stock.parquet", pa.table(GOOD))
    view = FeatureView(
        name="stock",
        entities=[PLACE],
        source=source("stock.parquet"),
        **{
            "schema": [Field(name="stock_count", dtype=Int64, description="Pieces")],
            "description": "What lies there",
            "ttl": timedelta(days=1),
            "owner": "ana@example.org",
            "tags": {"sharing": "private"},
            **changed,
        },
    )
    (folder / "added").mkdir()
    file = folder / "added" / "stock.py"
    file.write_text('stock = {"sharing": "private"}\n')
    other = Entity(name="other", join_keys=["other"], value_type=ValueType.STRING)
    return Repo(folder, make_store(folder, PLACE, other, view)), file


def test_a_view_that_is_fit_is_shared_by_one_word_and_registered(tmp_path, monkeypatch):
    repo, file = private(tmp_path)
    monkeypatch.setattr(sharing, "open_repo", lambda path: repo)
    registered = []
    assert share_view(tmp_path, "stock", register=registered.append) == Shared("stock", ())
    assert (file.read_text(), registered) == ('stock = {"sharing": "shared"}\n', [tmp_path])


def test_a_view_that_is_not_fit_stays_private(tmp_path, monkeypatch):
    repo, file = private(tmp_path, owner="ana")
    monkeypatch.setattr(sharing, "open_repo", lambda path: repo)
    found = share_view(tmp_path, "stock", register=refuse)
    assert found.problems == ("owner 'ana' is no address that somebody could write to",)
    assert file.read_text() == 'stock = {"sharing": "private"}\n'


def test_a_view_that_is_shared_already_stays_as_it_is(tmp_path, monkeypatch):
    repo, _ = private(tmp_path, tags={})
    monkeypatch.setattr(sharing, "open_repo", lambda path: repo)
    assert share_view(tmp_path, "stock", register=refuse) == Shared("stock", (), already=True)


@pytest.mark.parametrize("error", [RepoError, KeyboardInterrupt])
def test_what_cannot_be_registered_is_not_shared(tmp_path, monkeypatch, error):
    repo, file = private(tmp_path)
    monkeypatch.setattr(sharing, "open_repo", lambda path: repo)

    def fail(path):
        raise error("the registry is away")

    with pytest.raises(error):
        share_view(tmp_path, "stock", register=fail)
    assert file.read_text() == 'stock = {"sharing": "private"}\n'


def test_a_view_that_was_defined_elsewhere_is_shared_there(tmp_path, monkeypatch):
    repo, file = private(tmp_path)
    file.unlink()
    monkeypatch.setattr(sharing, "open_repo", lambda path: repo)
    with pytest.raises(RepoError, match="take the tag 'sharing' from the view where it is defined"):
        share_view(tmp_path, "stock", register=refuse)


def refuse(path):
    raise AssertionError("nothing is registered")


def test_a_view_that_is_pushed_to_is_found_too(tmp_path):
    write(tmp_path / "stock.parquet", pa.table(GOOD))
    stored = {
        "entities": [PLACE],
        "ttl": timedelta(days=1),
        "schema": [Field(name="stock_count", dtype=Int64)],
    }
    origin = PushSource(name="stock_push", batch_source=source("stock.parquet"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stream feature views are experimental")
        store = make_store(tmp_path, PLACE, StreamFeatureView(name="pushed", source=origin, **stored))
        assert find_view(Repo(tmp_path, store), "pushed").name == "pushed"


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
