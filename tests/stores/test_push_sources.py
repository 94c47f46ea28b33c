"""The file by which a scorer takes pushed rows, and that they have the bytes of Feast's own push."""

import json
from datetime import timedelta

import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.repo_config import RegistryConfig, RepoConfig
from feast.types import Array, Float32, Int64, String, UnixTimestamp

from knownat.contract.push_plan import PushPlan, read_push_plan, write_push_plan
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from knownat.stores.lmdb_rows import open_lmdb
from knownat.stores.push_sources import compile_push_plan
from knownat.stores.repo import apply_repo
from knownat.stores.row_keys import ViewName
from serving.pushed_rows import read_pushed
from serving.pushes import Pushes
from tests.stores import shop
from tests.stores.made_store import write

PLACE = Entity(name="place", join_keys=["place"], value_type=ValueType.STRING)
NOW_US = 1_704_067_200_000_000


def stocked(folder):
    source = FileSource(
        name="stock_table",
        path=str(folder / "stock.parquet"),
        timestamp_field="at",
        created_timestamp_column="created_timestamp",
        field_mapping={"at": "event_timestamp"},
    )
    pushed = PushSource(name="stock_now", batch_source=source)
    schema = {"amount": Int64, "price": Float32, "sizes": Array(Int64), "last": UnixTimestamp, "note": String}
    views = [
        FeatureView(
            name=name,
            entities=[PLACE],
            ttl=timedelta(days=1),
            schema=[Field(name=n, dtype=kind) for n, kind in fields.items()],
            source=origin,
        )
        for name, fields, origin in (
            ("stock", schema, pushed),
            ("stock_amount", {"amount": Int64}, pushed),
            ("stock_daily", {"amount": Int64}, source),
        )
    ]
    write(folder / "stock.parquet", shop.sales_rows())
    config = RepoConfig(
        project="made",
        provider="knownat.stores.provider.ExactProvider",
        registry=RegistryConfig(path=str(folder / "registry.db")),
        online_store={"type": "knownat.stores.lmdb_online.LmdbOnlineStore", "path": str(folder / "feast")},
        offline_store={"type": "knownat.stores.offline.AsOfOfflineStore"},
        entity_key_serialization_version=3,
    )
    config.repo_path = folder
    store = FeatureStore(config=config)
    store.apply([PLACE, *views])
    return store


def test_every_view_that_a_push_source_feeds_is_told_under_its_own_names(tmp_path):
    plan = compile_push_plan(stocked(tmp_path))

    assert list(plan.sources) == ["stock_now"]
    stock, amount = sorted(plan.sources["stock_now"].views, key=lambda view: view.name)
    assert (stock.name, amount.name) == ("stock", "stock_amount")
    assert stock.columns == {
        "place": "string",
        "amount": "int64",
        "price": "float32",
        "sizes": "list<int64>",
        "last": "timestamp",
        "note": "string",
        "event_timestamp": "timestamp",
        "created_timestamp": "timestamp",
    }
    assert (stock.event, stock.created) == ("event_timestamp", "created_timestamp")


def test_a_row_pushed_over_http_has_the_bytes_of_one_that_feast_pushed(tmp_path):
    store = stocked(tmp_path)
    plan = compile_push_plan(store)
    write_push_plan(tmp_path / "push_sources.json", plan)
    ours = open_lmdb(tmp_path / "ours")
    row = {"place": "Süd", "amount": 2**53 + 1, "price": 0.1, "sizes": [3, 2**60], "note": ""}
    times = {"last": "2023-12-01T00:00:00.000001Z", "created_timestamp": "2023-12-31T01:00:00Z"}
    at = "2023-12-31T00:00:00.000001Z"
    rows = [row | times | {"event_timestamp": at}, {**dict.fromkeys(row | times), "place": "n",
            "event_timestamp": at, "created_timestamp": at}]  # fmt: skip
    pushes = Pushes(tmp_path / "push_sources.json", lambda: ours)

    kept = pushes.write(read_pushed({"rows": rows}, pushes.source("stock_now"), NOW_US), NOW_US)
    frame = pd.DataFrame(rows).rename(columns={"event_timestamp": "at"})
    frame["amount"] = pd.array([r["amount"] for r in rows], dtype="Int64")
    for name in ("at", "created_timestamp", "last"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    store.push("stock_now", frame)

    theirs = open_lmdb(tmp_path / "feast")
    for view in ("stock", "stock_amount"):
        assert kept[view].stored == 2
        scanned = [dict(one.scan(ViewName("made", view))) for one in (ours, theirs)]
        assert scanned[0] == scanned[1]
        assert len(scanned[0]) == 2
    ours.close()
    theirs.close()


def test_applying_a_repo_writes_the_file(tmp_path):
    repo = shop.copy_shop(tmp_path)
    sources = (repo / "sources.py").read_text()
    (repo / "sources.py").write_text(
        sources.replace("from feast import FileSource", "from feast import FileSource, PushSource")
        + '\nfresh = PushSource(name="fresh_orders", batch_source=orders)\n'
    )
    views = (repo / "views.py").read_text()
    (repo / "views.py").write_text(
        views.replace("import orders, sales", "import fresh, sales").replace("source=orders", "source=fresh")
    )
    apply_repo(repo)

    plan = read_push_plan(Workspace.at(repo).push_sources)

    assert plan is not None
    (view,) = plan.sources["fresh_orders"].views
    assert (plan.project, view.name) == ("shop", "customer_orders")
    assert [key.name for key in view.keys] == ["customer_id"]


def test_a_repo_that_was_never_applied_has_none(tmp_path):
    assert read_push_plan(tmp_path / "push_sources.json") is None


def test_a_file_that_is_broken_is_named(tmp_path):
    path = tmp_path / "push_sources.json"
    write_push_plan(path, PushPlan(project="shop", sources={}))
    path.write_text(json.dumps({"format": 2}))

    with pytest.raises(ConfigError, match=r"push_sources\.json:\n- cannot be read"):
        read_push_plan(path)
