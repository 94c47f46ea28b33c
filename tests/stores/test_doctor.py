import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from knownat.contract.release import Deployed, Deployment, ModelDeployment, write_deployment
from knownat.contract.workspace import Workspace
from knownat.stores import checks, online_checks
from knownat.stores.codec import RowSchema
from knownat.stores.materialization import materialize
from knownat.stores.packed_write import write_table
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import Repo, open_repo
from knownat.stores.row_keys import ViewName
from tests.stores import shop
from tests.stores.online_stores import FEAST_SQLITE, ours_in_redis, use_online_store
from tests.stores.packed.redis_server import RedisServer


def problems(check: checks.Check, path: Path) -> str:
    return "\n".join(check(open_repo(path)))


@pytest.fixture
def filled(shop_copy: Path) -> Repo:
    repo = open_repo(shop_copy)
    materialize(repo, until=shop.at(100))
    return repo


def test_a_healthy_repo_has_no_problem(filled):
    assert [f for f in checks.examine(filled) if f.problems] == []


def test_a_definition_in_a_file_named_like_a_module_is_named(shop_copy):
    (shop_copy / "profile.py").write_text(
        "from feast import Entity\nextra = Entity(name='extra', join_keys=['extra_id'])\n"
    )

    found = problems(checks.check_definitions, shop_copy)

    assert "profile.py:2: entity 'extra' is defined but Feast does not see it" in found


def test_another_offline_store_is_named(shop_copy):
    rewrite(
        shop_copy / "feature_store.yaml", r"type: knownat\.stores\.offline\.AsOfOfflineStore", "type: file"
    )

    assert "can drop training rows" in problems(checks.check_offline_store, shop_copy)


def test_a_serving_flag_that_is_off_is_named(shop_copy):
    rewrite(
        shop_copy / "feature_store.yaml",
        "serve_features_while_materializing: true",
        "serve_features_while_materializing: false",
    )

    assert "serve_features_while_materializing is off" in problems(checks.check_serving_flag, shop_copy)


def test_a_source_without_created_timestamps_is_named(shop_copy):
    repo = open_repo(shop_copy)
    view = repo.store.get_feature_view("customer_orders")
    view.batch_source.created_timestamp_column = ""
    repo.store.registry.apply_feature_view(view, repo.store.project)
    repo.store.registry.commit()

    assert "has no created_timestamp_column" in problems(checks.check_created_timestamps, shop_copy)


def test_nanosecond_times_are_named(shop_copy):
    replace_created(shop_copy, lambda column: column.cast(pa.timestamp("ns", tz="UTC")))

    assert "is timestamp[ns, tz=UTC]" in problems(checks.check_tables, shop_copy)


def test_null_created_times_are_named(shop_copy):
    replace_created(shop_copy, lambda column: pc.if_else(pc.equal(column, column[0]), None, column))

    assert re.search(r"created_timestamp' is null in \d+ rows", problems(checks.check_tables, shop_copy))


def test_a_body_that_leans_on_its_module_is_named(shop_copy):
    repo = open_repo(shop_copy)
    view = repo.store.list_on_demand_feature_views()[0]
    text = view.feature_transformation.udf_string
    view.feature_transformation.udf_string = text.replace("return {", "RATE\n    return {", 1)
    repo.store.registry.apply_feature_view(view, repo.store.project)
    repo.store.registry.commit()

    assert "uses 'RATE' from outside its body" in problems(checks.check_on_demand_bodies, shop_copy)


def test_views_without_online_rows_are_named(shop_copy):
    assert "views ['customer_orders', 'region_sales'] have no online rows" in problems(
        checks.check_online_rows, shop_copy
    )


def test_an_online_store_that_was_deleted_is_named_and_not_made_anew(shop_copy):
    shutil.rmtree(shop_copy / "data" / "online_rows")

    findings = [p for f in checks.examine(open_repo(shop_copy)) for p in f.problems]

    assert any("There is no online store in" in problem for problem in findings)
    assert not (shop_copy / "data" / "online_rows").exists()


def test_feasts_own_online_store_is_named_with_what_it_does(shop_copy):
    found = problems(checks.check_online_store, use_online_store(shop_copy, FEAST_SQLITE))

    assert found.startswith("online_store is SqliteOnlineStore: of two rows with one event time")
    assert problems(online_checks.check_stored_rows, shop_copy) == ""


def test_a_redis_that_may_evict_rows_is_named(shop_copy, tmp_path):
    with RedisServer(tmp_path, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as server:
        found = problems(checks.check_online_store, use_online_store(shop_copy, ours_in_redis(server)))
    with RedisServer(tmp_path, "--maxmemory", "50mb") as server:
        fine = problems(checks.check_online_store, use_online_store(shop_copy, ours_in_redis(server)))

    assert "evicts rows when its memory is full (allkeys-lru)" in found
    assert fine == ""


@pytest.mark.parametrize(
    ("engine", "setting", "named"),
    [
        ("local", None, True),
        ("local", {"pull_latest_features": False}, True),
        ("local", {"pull_latest_features": True}, False),
        ("knownat.stores.compute.VisibleComputeEngine", None, False),
    ],
)
def test_an_engine_that_writes_what_nobody_knew_yet_is_named(shop_copy, engine, setting, named):
    file = shop_copy / "feature_store.yaml"
    settings = yaml.safe_load(file.read_text()) | {"batch_engine": {"type": engine}}
    file.write_text(yaml.safe_dump(settings | ({"materialization": setting} if setting else {})))

    found = problems(checks.check_batch_engine, shop_copy)

    assert ("a bare `feast materialize` reads by event time" in found) is named


def test_rows_that_are_damaged_unknown_or_from_the_future_are_named(filled):
    store = filled.store.provider.online_store.row_store(filled.store.config)
    name = ViewName("shop", "customer_orders")
    (key, row), (other_key, other), *_ = store.scan(name)
    schema = RowSchema.of(keys={"customer_id": "int64"}, features={"x": "int64"})
    future = pa.table({"customer_id": [77], "x": [1], "event_timestamp": pa.array([2**52], shop.MOMENT)})
    write_table(store, name, schema, future, now_us=2**53, created=None)
    with store._env.begin(write=True) as txn:
        txn.put(key, row[:-1] + b"\0", db=store._rows)
        txn.put(other_key, other[:-1] + bytes([other[-1] ^ 1]), db=store._rows)
        txn.delete(name.prefix + schema.identity, db=store._schemas)

    found = problems(online_checks.check_stored_rows, filled.path)

    assert "view 'customer_orders': 2 stored rows are damaged" in found
    assert "1 stored rows name a schema the store does not hold" in found
    with store._env.begin(write=True) as txn:
        txn.put(name.prefix + schema.identity, schema.text.encode(), db=store._schemas)
    assert "1 stored rows are later than now" in problems(online_checks.check_stored_rows, filled.path)


def test_a_deployed_plan_that_reads_other_values_is_named(filled, monkeypatch):
    plan, _ = compile_read_plan(filled, "reach")
    wrong = plan.model_copy(update={"views": (plan.views[0].model_copy(update={"view": "region_sales"}),)})
    monkeypatch.setattr(online_checks, "_deployed_plans", lambda workspace: iter([("churn 7", wrong)]))

    (finding,) = [f for f in checks.examine(filled) if "read plans decode" in f.check]

    *five, more = finding.problems
    assert five[0].startswith("churn 7: view 'customer_orders', feature 'order_count_30d', customer_id=")
    assert (len(five), more) == (5, "churn 7: 45 more values differ, of 60.")


def test_a_deployed_release_that_is_gone_is_named(shop_copy):
    gone = Deployed(version="1", digest="0" * 64)
    write_deployment(
        Workspace.at(shop_copy).deployment, Deployment(models={"m": ModelDeployment(champion=gone)})
    )

    assert "cannot be read" in problems(checks.check_releases, shop_copy)


def test_a_check_that_cannot_finish_is_a_problem_and_not_an_end(shop_copy):
    (shop_copy / "data" / "orders.parquet").unlink()

    findings = list(checks.examine(open_repo(shop_copy)))

    assert len(findings) == len(checks.CHECKS)
    assert any("orders.parquet" in p for f in findings for p in f.problems)


def test_the_command_prints_one_json_document_and_exits_1(shop_copy, run_knownat):
    done = run_knownat("doctor", "--repo", str(shop_copy), "--json")

    findings = json.loads(done.stdout)
    assert done.returncode == 1
    assert sum(bool(finding["problems"]) for finding in findings) == 1


def rewrite(path: Path, old: str, new: str) -> None:
    text, count = re.subn(old, new, path.read_text())
    assert count == 1
    path.write_text(text)


def replace_created(repo: Path, change) -> None:
    path = repo / "data" / "orders.parquet"
    table = pq.read_table(path)
    index = table.column_names.index("created_timestamp")
    pq.write_table(table.set_column(index, "created_timestamp", change(table["created_timestamp"])), path)
