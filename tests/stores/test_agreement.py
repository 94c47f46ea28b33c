"""A plan that reads other values than Feast's own online API is named, value by value."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from knownat.clock import to_us
from knownat.contract.read_plan import ReadPlan
from knownat.errors import RepoError
from knownat.stores.agreement import compare_online, prove_online, sample_entities
from knownat.stores.feast_types import row_schema
from knownat.stores.materialization import materialize
from knownat.stores.packed_write import write_table
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import Repo, open_repo
from knownat.stores.row_keys import ViewName
from tests.stores import shop
from tests.stores.online_stores import FEAST_SQLITE, LMDB, use_online_store


@pytest.fixture(params=[LMDB, FEAST_SQLITE], ids=["packed rows", "through Feast"])
def filled(request: pytest.FixtureRequest, shop_copy: Path) -> Repo:
    repo = open_repo(use_online_store(shop_copy, request.param))
    materialize(repo, until=shop.at(100))
    return repo


@pytest.fixture
def own(shop_copy: Path) -> Repo:
    repo = open_repo(shop_copy)
    materialize(repo, until=shop.at(100))
    return repo


def churn(repo: Repo) -> ReadPlan:
    return compile_read_plan(repo, "churn", question_time_input="question_us")[0]


QUESTIONS = {
    "customer_id": [*shop.CUSTOMERS, 999, None],
    "home_region": [*shop.REGIONS * 4, "nowhere", "north"],
    "question_us": [to_us(shop.at(100))] * 14,
}


def test_a_compiled_plan_reads_what_feast_gives(filled: Repo) -> None:
    agreement = compare_online(filled, churn(filled), QUESTIONS)
    assert agreement.differences == ()
    assert agreement.present > 20
    sampled = compare_online(filled, churn(filled))
    assert sampled.differences == ()
    assert sampled.present > 20


def test_before_anything_is_materialized_there_is_nothing_to_compare(shop_copy: Path) -> None:
    repo = open_repo(shop_copy)
    assert compare_online(repo, churn(repo)).values == 0


def test_every_view_gets_entities_of_its_own(own: Repo) -> None:
    sampled = sample_entities(own, churn(own), 5)
    assert len(sampled["customer_id"]) == len(sampled["home_region"]) == 5 + 3
    assert set(sampled["home_region"]) == set(shop.REGIONS)
    assert sampled == sample_entities(own, churn(own), 5)


def test_a_plan_that_reads_other_rows_is_named_by_view_feature_and_key(own: Repo) -> None:
    plan = churn(own)
    orders, sales = plan.views
    view = own.store.get_feature_view("customer_orders")
    rows = own.store.provider.online_store.row_store(own.store.config)
    elsewhere = ViewName("shop", "customer_orders_of_old")
    old = {"order_count_30d": -1, "order_value_eur_30d": 0.5, "last_channel": "fax", "is_member": None}
    row = {"customer_id": 1, **old, "last_order_us": 0, "event_timestamp": shop.at(99)}
    write_table(
        rows,
        elsewhere,
        row_schema(view),
        pa.Table.from_pylist([row]),
        now_us=to_us(shop.at(100)),
        created=None,
    )
    wrong = plan.model_copy(update={"views": (orders.model_copy(update={"view": elsewhere.view}), sales)})

    found = compare_online(own, wrong, QUESTIONS)

    assert {(d.view, d.feature) for d in found.differences} == {
        ("customer_orders", feature) for feature in (*old, "last_order_us")
    }
    count = next(
        d for d in found.differences if d.feature == "order_count_30d" and d.key == {"customer_id": 1}
    )
    assert count.plan == -1
    with pytest.raises(RepoError, match=r"view 'customer_orders', feature 'order_count_30d', customer_id=1"):
        found.check()


def test_a_release_is_proved_on_its_examples_or_says_that_it_was_not(
    own: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    proved = prove_online(own, churn(own), shop.examples())
    assert proved.differences == ()
    assert proved.present > 100
    shutil.rmtree(own.path / "data" / "online_rows")
    unreachable = open_repo(shutil.copytree(own.path, own.path.parent / "elsewhere"))
    assert prove_online(unreachable, churn(unreachable), shop.examples()).values == 0
    assert "its online values were not compared: There is no online store" in caplog.text


def test_a_service_that_lost_a_view_is_named(own: Repo) -> None:
    plan = churn(own)
    gone = plan.views[0].model_copy(update={"name": "gone"})
    with pytest.raises(RepoError, match=r"no longer reads views \['gone'\]"):
        compare_online(own, plan.model_copy(update={"views": (gone,)}))
