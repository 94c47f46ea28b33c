"""The catalogue: what a feature means, who builds on it, where it comes from, what it holds and costs."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from knownat.cli import main
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, RepoError
from knownat.stores.catalogue import read_catalogue
from knownat.stores.catalogue_pages import measure_all, write_pages
from knownat.stores.catalogue_search import search
from knownat.stores.catalogue_text import page_of
from knownat.stores.distributions import describe
from knownat.stores.feature_facts import measure
from knownat.stores.feature_names import unit_of, window_of
from knownat.stores.lineage import trace
from knownat.stores.materialization import materialize
from knownat.stores.repo import Repo, open_repo
from knownat.stores.sharing import find_view
from tests.stores import shop
from tests.stores.catalogued import catalogue_shop
from tests.stores.made_store import make_store, source, view

PIPELINES = Path(__file__).parents[1] / "training" / "repos" / "shop" / "pipelines"


@pytest.fixture(scope="module")
def path(applied_shop, tmp_path_factory):
    return catalogue_shop(applied_shop[0], tmp_path_factory.mktemp("catalogued"))


@pytest.fixture(scope="module")
def opened(path):
    return open_repo(path)


@pytest.fixture(scope="module")
def measured(opened):
    return measure_all(opened)


def test_an_entry_says_what_the_definitions_say(opened):
    orders = read_catalogue(opened).view("customer_orders")
    assert (orders.kind, orders.keys, orders.ttl, orders.place) == (
        "stored",
        ("customer_id",),
        "2 days",
        "views.py:8",
    )
    assert [(f.reference, f.dtype, f.unit, f.window) for f in orders.features[:3]] == [
        ("customer_orders:order_count_30d", "int64", "a count", "last 30 days"),
        ("customer_orders:order_value_eur_30d", "double", "EUR", "last 30 days"),
        ("customer_orders:last_channel", "string", None, None),
    ]


def test_whoever_builds_on_a_view_is_named_with_what_they_read(opened):
    orders = read_catalogue(opened).view("customer_orders")
    four = ("order_count_30d", "order_value_eur_30d", "last_channel", "is_member")
    assert [(c.kind, c.name, c.role, c.features, c.through) for c in orders.consumers] == [
        ("service", "churn", "", four, ("order_age",)),
        ("service", "reach", "", (*four, "last_order_us"), ()),
        ("model", "churn", "", four, ("order_age",)),
        ("release", "churn 3", "champion", four, ("order_age",)),
    ]
    assert orders.people == ("crm@example.org",)
    assert [c.name for c in orders.users_of("last_order_us")] == ["reach"]


def test_a_release_that_was_changed_is_left_out(path, tmp_path, caplog):
    home = shutil.copytree(path.parent, tmp_path / "home")
    (home / "releases" / "churn" / "3" / "card.html").write_text("another")
    orders = read_catalogue(open_repo(home / "feature_repo")).view("customer_orders")
    assert [c.kind for c in orders.consumers] == ["service", "service", "model"]
    assert "was changed" in caplog.text


def test_a_view_is_traced_to_the_files_it_was_made_from(tmp_path):
    shutil.copytree(PIPELINES, tmp_path / "pipelines")
    stock = view(source("data/customer_orders.parquet"))
    origin = trace(Repo(tmp_path, make_store(tmp_path, stock)), stock)
    assert origin.sql == "pipelines/customer_orders.sql"
    assert origin.events == {"orders": "paid_at + INTERVAL 1 HOUR"}
    assert origin.raw == ("orders.csv",)


def test_a_query_need_not_run_to_be_traced(tmp_path):
    shutil.copytree(PIPELINES, tmp_path / "pipelines")
    sql = (
        "WITH o AS (FROM orders) SELECT * FROM o JOIN o AS p USING (customer_id) WHERE EXISTS (FROM nowhere)"
    )
    (tmp_path / "pipelines" / "customer_orders.sql").write_text(sql)
    stock = view(source("data/customer_orders.parquet"))
    origin = trace(Repo(tmp_path, make_store(tmp_path, stock)), stock)
    assert (list(origin.events), origin.raw) == (["orders"], ("orders.csv",))


def test_what_is_measured_of_a_table_is_what_it_holds(measured):
    rows = shop.order_rows()
    facts = measured.facts["customer_orders"]
    assert facts.rows == 400
    assert facts.newest_event == max(rows["event_timestamp"].to_pylist())
    assert facts.newest_known == max(rows["created_timestamp"].to_pylist())
    assert facts.watermark == shop.at(200)
    assert {name: held.null_share for name, held in facts.held.items()} == {
        name: rows[name].null_count / 400 for name in facts.held
    }
    assert facts.cost.row_bytes > 40
    assert facts.cost.read_us > 0
    assert measured.facts["order_age"].cost.compute_us > 0


def test_a_cost_is_that_of_rows_that_are_online(applied_shop, tmp_path):
    """The newest rows of the table may be known of the future; none of them is online yet."""
    repo = open_repo(shutil.copytree(applied_shop[0], tmp_path / "feature_repo"))
    early = shop.at(4)
    materialize(repo, until=early, views=["customer_orders"])
    rows = shop.order_rows().to_pylist()
    online = {r["customer_id"] for r in rows if max(r["event_timestamp"], r["created_timestamp"]) <= early}
    assert 0 < len(online) < len({r["customer_id"] for r in rows})
    facts = measure(repo, find_view(repo, "customer_orders"), marks={"customer_orders": early})
    assert facts.cost.row_bytes > 40


def test_a_view_that_is_not_online_has_no_cost_there(measured):
    facts = measured.facts["region_sales"]
    assert (facts.watermark, facts.cost.row_bytes) == (None, None)


def test_what_a_release_was_trained_on_is_told_apart_from_the_table(measured):
    seen = measured.seen["order_age__order_age_s"]
    assert (seen.release, seen.held.rows) == ("churn 3", 300)
    assert measured.seen["customer_orders__last_channel"].held.null_share == pytest.approx(86 / 300)


def test_few_values_are_counted_one_by_one():
    held = describe(pl.Series("n", [1, 2, 2, 5]), rows=4, nulls=0)
    assert [(bar.label, bar.share) for bar in held.bars] == [("1", 0.25), ("2", 0.5), ("5", 0.25)]
    names = describe(pl.Series("n", ["b", "a", "b", None]), rows=4, nulls=1)
    assert [(bar.label, round(bar.share, 3)) for bar in names.bars] == [("b", 0.667), ("a", 0.333)]
    assert describe(pl.Series("n", [None], dtype=pl.Int64), rows=1, nulls=1).bars == ()


def test_many_values_are_drawn_as_numpy_counts_them():
    values = np.random.default_rng(3).normal(100, 15, 20_000)
    bars = describe(pl.Series("n", values), rows=20_000, nulls=0).bars
    low, high = np.quantile(values, [0.01, 0.99])
    counts, _ = np.histogram(np.clip(values, low, high), bins=16, range=(low, high))
    assert np.allclose([bar.share for bar in bars], counts / 20_000, atol=0.012)
    assert sum(bar.share for bar in bars) == pytest.approx(1)


def test_one_value_among_many_has_its_share():
    values = [0.0] * 700 + [float(n) for n in range(1, 301)]
    bars = describe(pl.Series("n", values), rows=1_000, nulls=0).bars
    assert bars[0].share == pytest.approx(0.718, abs=0.005)
    assert sum(bar.share for bar in bars) == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "unit", "window"),
    [
        ("origin_departure_delay_mean_min_3h", "min", "last 3 hours"),
        ("order_value_sum_cents_total", "cents", "all so far"),
        ("weather_visibility_mi100", "hundredths of a mile", None),
        ("order_last_epoch_us", "µs since 1970", None),
        ("order_count_30d", "a count", "last 30 days"),
        ("s", None, None),
        ("min_order", None, None),
    ],
)
def test_a_name_says_its_unit_and_window(name, unit, window):
    assert (unit_of(name), window_of(name)) == (unit, window)


def test_names_come_before_what_is_said_of_them(opened):
    catalogue = read_catalogue(opened)

    def found(words):
        return [hit.feature.reference for hit in search(catalogue, words).hits]

    assert found("last_channel")[0] == "customer_orders:last_channel"
    assert found("order age") == ["order_age:order_age_s"]
    assert found("eur") == ["customer_orders:order_value_eur_30d"]
    assert found("region")[0] == "region_sales:sales_y"
    assert found("orders 30d")[:2] == [
        "customer_orders:order_count_30d",
        "customer_orders:order_value_eur_30d",
    ]
    assert found("nothing like it") == []
    assert found("") == []


def test_a_misspelt_word_is_guessed(opened):
    assert search(read_catalogue(opened), "chanel").did_you_mean == ("channel",)
    with pytest.raises(RepoError, match=r"no view or feature 'custmer_orders'\. Did you mean customer"):
        page_of(opened, "custmer_orders")


def test_the_pages_replace_pages_and_nothing_else(measured, path, tmp_path):
    workspace = Workspace.at(path)
    index = write_pages(measured, tmp_path / "out", workspace=workspace, now=shop.at(300))
    again = write_pages(measured, tmp_path / "out", workspace=workspace, now=shop.at(301))
    assert index == again
    assert sorted(p.name for p in index.parent.glob("*.html")) == [
        "customer_orders.html",
        "index.html",
        "order_age.html",
        "region_sales.html",
    ]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="holds something else than these pages"):
        write_pages(measured, tmp_path / "mine", workspace=workspace, now=shop.at(300))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def say(*words):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main(["features", *words])
    return ended.value.code, said.getvalue()


def test_the_commands_speak_json_and_exit_codes(path, tmp_path):
    repo = ("--repo", str(path), "--json")
    code, listed = say("list", *repo)
    assert (code, [each["name"] for each in json.loads(listed)]) == (
        0,
        ["customer_orders", "order_age", "region_sales"],
    )
    code, found = say("search", "channel", *repo)
    assert (code, json.loads(found)["hits"][0]["reference"]) == (0, "customer_orders:last_channel")
    assert say("search", "chanel", *repo)[0] == 1
    code, shown = say("show", "customer_orders:last_channel", *repo)
    shown = json.loads(shown)
    assert (code, shown["people"], list(shown["facts"]["held"])) == (0, ["crm@example.org"], ["last_channel"])
    code, made = say("pages", "--output", str(tmp_path / "pages"), *repo)
    assert (code, json.loads(made)["views"]) == (0, 3)
