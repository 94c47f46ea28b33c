"""The scorer over packed rows: the same scores one by one, together, and by LightGBM's own package."""

from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from knownat.clock import FixedClock
from knownat.contract.log_reader import read_predictions
from knownat.contract.prediction_log import prediction_schema
from knownat.contract.release import read_release
from knownat.stores.lmdb_rows import open_lmdb
from serving.access import Access
from serving.app import Parts, create_apps
from serving.features import open_feature_store
from serving.loading import ReleaseLoader
from serving.models import ServedModels
from serving.prediction_ids import open_prediction_ids
from serving.prediction_log import LogBook
from tests.serving.asking import ask
from tests.serving.made_workspace import (
    CUSTOMERS,
    DAY_US,
    MODEL,
    NOW_US,
    PLAN,
    expected,
    fill,
    make_workspace,
)

ALWAYS = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}
PREDICT = f"/v1/models/{MODEL}/predict"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"))
    store = open_lmdb(made.workspace.repo / "data" / "online_rows")
    fill(made, store)
    yield made
    store.close()


@contextmanager
def scorer(made, log, now_us=NOW_US):
    book = LogBook(log)
    loader = ReleaseLoader(
        made.workspace.releases,
        open_feature_store(made.workspace.repo),
        book,
        trial=lambda path, digest: None,
    )
    models = ServedModels(made.workspace.deployment, loader)
    models.refresh()
    assert models.problems == {}
    ids = open_prediction_ids(log, book.writer)
    clock = FixedClock(now_us)
    yield create_apps(Parts(models, book, ids, clock, Access(None, clock)))[0]
    book.close()


def predict(app, customers):
    rows = [{"keys": {"customer": customer}} for customer in customers]
    answer = ask(app, "POST", PREDICT, json={"rows": rows} if len(rows) > 1 else rows[0])
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def test_scores_are_lightgbms_alone_few_and_many(made, tmp_path):
    customers = [*range(40), 7, 7, CUSTOMERS - 1]
    wanted = expected(made, read_release(made.workspace.releases / MODEL / "1"), customers)
    with scorer(made, tmp_path) as app:
        many = predict(app, customers)
        few = [p for i in range(0, 43, 10) for p in predict(app, customers[i : i + 10])]
        alone = [p for customer in customers for p in predict(app, [customer])]

    assert len(set(wanted)) > 10
    for answered in (many, few, alone):
        assert max(abs(p["score"] - s) for p, s in zip(answered, wanted, strict=True)) <= 1e-12
        assert not any(p["degraded"] for p in answered)


def test_the_log_is_the_same_alone_and_together(made, tmp_path):
    customers = [3, 5, CUSTOMERS + 5, 3, None]
    with scorer(made, tmp_path / "alone") as app:
        for customer in customers:
            predict(app, [customer])
    with scorer(made, tmp_path / "together") as app:
        predict(app, customers)
    with scorer(made, tmp_path / "many") as app:
        predict(app, customers * 8)

    alone, together, many = (
        read_predictions(tmp_path / name, MODEL, **ALWAYS) for name in ("alone", "together", "many")
    )
    differs = ["prediction_id", "request_id", "latency_us"]
    assert alone.schema.remove_metadata() == prediction_schema(PLAN)
    assert in_order(alone.drop(differs)) == in_order(together.drop(differs))
    assert sorted(in_order(alone.drop(differs)) * 8) == in_order(many.drop(differs))


def in_order(table: pa.Table) -> list[str]:
    return sorted(map(str, table.to_pylist()))


def test_an_expired_row_is_not_served(made, tmp_path):
    with scorer(made, tmp_path, NOW_US + DAY_US) as app:
        (one,) = predict(app, [3])

    assert one["degraded"]
    assert one["views"]["orders"] == {"status": "expired", "age_seconds": 25 * 3_600.0}
