"""Rows pushed over HTTP: exact or refused, all or none, newest wins, and there for the next read."""

import json

import pytest

from knownat.clock import FixedClock
from knownat.contract.push_plan import PushField, PushPlan, PushSource, PushView, write_push_plan
from knownat.contract.release import read_release
from knownat.errors import StoreFull
from knownat.stores.lmdb_rows import open_lmdb
from serving.access import Access
from serving.app import Parts, create_apps
from serving.features import open_feature_store, open_row_store
from serving.insight import Folders
from serving.keys import Scope, add_key
from serving.loading import ReleaseLoader
from serving.models import ServedModels
from serving.prediction_ids import open_prediction_ids
from serving.prediction_log import LogBook
from serving.pushes import Pushes
from tests.serving.asking import ask
from tests.serving.made_workspace import MODEL, NOW_US, WIDTHS, fill, make_workspace

PUSH = "/v1/push/fresh_orders"
FEATURES = [f"f{i:03}" for i in range(WIDTHS["orders"])]
ORDERS = PushView(
    name="orders",
    keys=(PushField(name="customer", dtype="int64"),),
    features=tuple(PushField(name=name, dtype="float64") for name in FEATURES),
    event="event_timestamp",
    created="created_timestamp",
)
SOURCES = {"fresh_orders": PushSource(views=(ORDERS,))}


def row(customer=3, value=0.5, at="2023-12-31T23:59:00Z", known=None, **changes):
    times = {"event_timestamp": at, "created_timestamp": known or at}
    return {"customer": customer, **dict.fromkeys(FEATURES, value), **times, **changes}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"))
    store = open_lmdb(made.workspace.repo / "data" / "online_rows")
    write_push_plan(made.workspace.push_sources, PushPlan(project="shop", sources=SOURCES))
    yield made, store
    store.close()


class Pushing:
    """A scorer's apps over the made workspace, and its pushes."""

    def __init__(self, made, log, keys=None):
        workspace = made.workspace
        self.book = LogBook(log)
        self.clock = FixedClock(NOW_US)
        loader = ReleaseLoader(
            workspace.releases, open_feature_store(workspace.repo), self.book, trial=lambda path, digest: None
        )
        models = ServedModels(workspace.deployment, loader)
        models.refresh()
        ids = open_prediction_ids(log, self.book.writer)
        self.pushes = Pushes(workspace.push_sources, lambda: open_row_store(workspace.repo))
        access = Access(keys, self.clock)
        self.app, self.admin = create_apps(
            Parts(
                models,
                self.book,
                ids,
                self.clock,
                access,
                pushes=self.pushes,
                folders=Folders(workspace.releases, log / "feedback"),
            )
        )

    def push(self, *rows, path=PUSH, **given):
        return ask(self.app, "POST", path, **(given or {"json": {"rows": [*rows]}}))

    def served(self, customer=3):
        body = {"keys": {"customer": customer}}
        (prediction,) = ask(self.app, "POST", f"/v1/models/{MODEL}/predict", json=body).json()["predictions"]
        return prediction["score"], prediction["views"]["orders"]

    def counts(self):
        lines = ask(self.admin, "GET", "/metrics").text.splitlines()
        return {
            line.split(" ")[0]: float(line.split(" ")[1])
            for line in lines
            if line.startswith("knownat_push_rows_total")
        }


@pytest.fixture
def scorer(made, tmp_path):
    workspace, store = made
    store.delete_project("shop")
    fill(workspace, store)
    built = Pushing(workspace, tmp_path)
    yield built
    built.book.close()


def refusal(answer):
    assert answer.status_code == 422, answer.text
    return [(d["row"], d["field"], d["problem"]) for d in answer.json()["error"]["details"]]


def test_a_pushed_row_is_served_by_the_next_read(scorer):
    before, _ = scorer.served()

    answer = scorer.push(row(value=0.25))

    after, view = scorer.served()
    assert answer.json() == {
        "source": "fresh_orders",
        "rows": 1,
        "views": {"orders": {"stored": 1, "not_newer": 0}},
    }
    assert view == {"status": "present", "age_seconds": 60.0}
    assert after != before


def test_the_score_is_the_one_of_the_pushed_values(made, scorer):
    workspace, _ = made
    values = workspace.values[3].copy()
    scorer.push(row(**dict(zip(FEATURES, (value / 2 for value in values[: len(FEATURES)]), strict=True))))
    values[: len(FEATURES)] /= 2
    import lightgbm

    text = read_release(workspace.workspace.releases / MODEL / "1").read_bytes("model.txt").decode()
    (wanted,) = lightgbm.Booster(model_str=text).predict(values[None], num_threads=1)

    assert scorer.served()[0] == pytest.approx(wanted, abs=1e-12)


def test_pushing_again_changes_nothing_and_an_older_row_loses(scorer):
    newest = row(value=0.9, at="2023-12-31T23:58:00Z")
    scorer.push(newest)
    served = scorer.served()

    again = scorer.push(newest).json()["views"]["orders"]
    older = scorer.push(row(value=0.1, at="2023-12-31T23:57:59.999999Z")).json()["views"]["orders"]
    both = scorer.push(
        row(4, at="2023-12-31T23:01:00Z"), row(4, value=0.7, at="2023-12-31T23:02:00Z")
    ).json()["views"]["orders"]

    assert again == older == {"stored": 0, "not_newer": 1}
    assert sum(both.values()) == 2
    assert scorer.served() == served
    assert scorer.served(4)[1]["age_seconds"] == 58 * 60


def test_a_correction_known_later_wins(scorer):
    scorer.push(row(value=0.9))
    before, _ = scorer.served()

    corrected = scorer.push(row(value=0.1, known="2023-12-31T23:59:30Z")).json()["views"]["orders"]

    assert corrected == {"stored": 1, "not_newer": 0}
    assert scorer.served()[0] != before
    scorer.push(row(value=0.9))
    counted = 'knownat_push_rows_total{became="%s",source="fresh_orders"}'
    assert scorer.counts() == {counted % "not_newer": 1.0, counted % "stored": 2.0}


@pytest.mark.parametrize("when", ["event_timestamp", "created_timestamp"])
def test_a_row_of_the_future_is_refused_and_counted_and_nothing_is_written(scorer, when):
    before = scorer.served()

    answer = scorer.push(row(value=0.3), row(5, **{when: "2024-01-01T00:00:01.000001Z"}))

    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "early_rows"
    assert [(d["row"], d["field"]) for d in answer.json()["error"]["details"]] == [(1, when)]
    assert scorer.served() == before
    assert scorer.counts() == {'knownat_push_rows_total{became="early",source="fresh_orders"}': 1.0}
    within = scorer.push(row(**{when: "2024-01-01T00:00:01Z"}))
    assert within.status_code == 200


BAD = {
    "a fraction as a key": ({"customer": 3.0}, "customer", "must be an integer of 64 bits"),
    "text as a key": ({"customer": "3"}, "customer", "must be an integer of 64 bits"),
    "a truth as a key": ({"customer": True}, "customer", "must be an integer of 64 bits"),
    "a null key": ({"customer": None}, "customer", "may not be null"),
    "a key beyond 64 bits": ({"customer": 2**63}, "customer", "must be an integer of 64 bits"),
    "text as a number": ({"f000": "1"}, "f000", "must be a finite number"),
    "an integer no double holds": ({"f000": 2**53 + 1}, "f000", "must be a finite number"),
    "a list as a number": ({"f000": [1]}, "f000", "must be a finite number"),
    "no time": ({"event_timestamp": None}, "event_timestamp", "may not be null"),
    "a time without a zone": (
        {"event_timestamp": "2023-12-31T23:59:00"},
        "event_timestamp",
        "must be a time with its zone, such as 2013-10-15T12:00:00.000001Z",
    ),
    "a time finer than a microsecond": (
        {"created_timestamp": "2023-12-31T23:59:00.0000001Z"},
        "created_timestamp",
        "must be a time with its zone, such as 2013-10-15T12:00:00.000001Z",
    ),
    "a day that is not": (
        {"event_timestamp": "2023-02-30T00:00:00Z"}, "event_timestamp", "must be a time that exists",
    ),
    "a number as a time": (
        {"event_timestamp": 1704067140},
        "event_timestamp",
        "must be a time with its zone, such as 2013-10-15T12:00:00.000001Z",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "problem"), BAD.values(), ids=BAD)
def test_a_value_that_does_not_fit_is_named_and_nothing_is_written(scorer, changes, field, problem):
    before = scorer.served()

    answer = scorer.push(row(value=0.3), row() | changes)

    assert refusal(answer) == [(1, field, problem)]
    assert scorer.served() == before
    assert scorer.counts() == {'knownat_push_rows_total{became="refused",source="fresh_orders"}': 2.0}


def test_unknown_and_missing_columns_are_named(scorer):
    short = row()
    del short["f001"], short["created_timestamp"]

    found = refusal(scorer.push(row(odd=1), short, 7))

    assert [number for number, _, _ in found] == [0, 1, 2]
    assert "has unknown columns ['odd']" in found[0][2]
    assert "lacks the columns ['f001', 'created_timestamp']" in found[1][2]
    assert "must be an object" in found[2][2]


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"rows": []}', b'{"rows": {}}', b'{"rows": [{}], "to": "x"}', b'{"rows": NaN}', b""],
)
def test_a_body_that_is_no_push_is_refused(scorer, body):
    assert scorer.push(content=body).status_code == 422


def test_what_is_beside_the_rows_refuses_them(scorer):
    answer = scorer.push(json={"rows": [row()], "to": "x"})

    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "Unknown fields ['to']; a push has 'rows'."


def test_of_many_bad_rows_no_more_are_looked_at_than_are_told(scorer):
    answer = scorer.push(*[7] * 30)

    assert len(refusal(answer)) == 20
    assert answer.json()["error"]["message"].endswith("(and 19 more).")


def test_rows_that_no_store_can_hold_are_refused_by_name(scorer, tmp_path):
    keyed = ORDERS.model_copy(update={"keys": (PushField(name="customer", dtype="float64"),)})
    scorer.pushes.path = tmp_path / "sources.json"
    plan = PushPlan(project="shop", sources={"fresh_orders": PushSource(views=(keyed,))})
    write_push_plan(scorer.pushes.path, plan)

    answer = scorer.push(row(customer=3.5))

    assert (answer.status_code, answer.json()["error"]["message"]) == (
        422,
        "The rows do not fit: SchemaMismatch.",
    )


def test_a_null_feature_is_a_null(scorer):
    assert scorer.push(row(f000=None)).status_code == 200
    assert scorer.served()[1]["status"] == "present"


def test_an_unknown_source_is_404_and_no_label_of_a_metric(scorer):
    answer = scorer.push(row(), path="/v1/push/nobody-knows")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "['fresh_orders']" in answer.json()["error"]["message"]
    told = ask(scorer.admin, "GET", "/metrics").text
    assert "nobody" not in told
    assert 'knownat_requests_total{model="",route="push",status="404"} 1.0' in told


def test_a_push_needs_a_key_of_its_own_scope(made, tmp_path):
    keys = tmp_path / "keys.json"
    held = {
        scope: add_key(keys, "caller", frozenset({scope}), now_us=NOW_US, days=None)[1] for scope in Scope
    }
    workspace, store = made
    fill(workspace, store)
    scorer = Pushing(workspace, tmp_path, keys)

    statuses = {
        scope: ask(scorer.app, "POST", PUSH, json={"rows": [row()]}, headers={"x-api-key": key}).status_code
        for scope, key in held.items()
    }
    nobody = {scorer.push(row(), path=path).status_code for path in (PUSH, "/v1/push/unknown")}
    scorer.book.close()

    assert statuses.pop(Scope.PUSH) == 200
    assert set(statuses.values()) == {403}
    assert nobody == {401}


def test_a_push_is_shed_as_a_prediction_is(scorer):
    scorer.app.rounds._door.pressure.waiting = 101

    answer = scorer.push(row())

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")


@pytest.mark.parametrize(
    ("failure", "why"),
    [(StoreFull("canary"), "it has no room"), (RuntimeError("canary"), "it did not answer in time")],
    ids=["no room", "without a name"],
)
def test_a_store_that_takes_no_rows_is_told_and_the_scorer_serves_on(scorer, monkeypatch, failure, why):
    before = scorer.served()

    def fail(*_):
        raise failure

    monkeypatch.setattr("knownat.stores.lmdb_rows.LmdbRows.write", fail)
    answer = scorer.push(row())

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert f"could not take the rows: {why}." in answer.json()["error"]["message"]
    assert "canary" not in answer.text
    assert scorer.served() == before


def test_where_no_packed_rows_are_kept_none_are_taken(scorer):
    scorer.pushes.open_store = lambda: None

    answer = scorer.push(row())

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "keeps no packed rows" in answer.json()["error"]["message"]


def test_where_nothing_was_ever_declared_nothing_can_be_pushed(scorer, tmp_path):
    scorer.pushes.path = tmp_path / "nowhere.json"

    answer = scorer.push(row())

    assert (answer.status_code, answer.json()["error"]["message"]) == (
        404,
        "No such push source; there are []. `knownat apply` lists a repo's push sources.",
    )


def test_what_may_be_pushed_is_taken_up_when_it_changes_and_kept_when_it_breaks(made, scorer):
    path = made[0].workspace.push_sources
    assert scorer.push(row()).status_code == 200
    kept = path.read_text()
    try:
        path.write_text("{")
        assert scorer.push(row()).status_code == 200
        write_push_plan(path, PushPlan(project="shop", sources={"other": SOURCES["fresh_orders"]}))
        assert scorer.push(row()).status_code == 404
        assert scorer.push(row(), path="/v1/push/other").status_code == 200
    finally:
        path.write_text(kept)


def test_the_interface_describes_it(scorer):
    described = ask(scorer.app, "GET", "/openapi.json").json()["paths"]["/v1/push/{source}"]["post"]

    assert described["parameters"][0]["name"] == "source"
    assert set(described["responses"]) >= {"200", "401", "403", "404", "413", "422", "429", "503"}
    assert described["requestBody"]["content"]["application/json"]["schema"]["required"] == ["rows"]


def test_no_value_of_a_pushed_row_comes_back(scorer):
    answer = scorer.push(row("canary-1", f000="canary-2", event_timestamp="canary-3"))

    assert answer.status_code == 422
    assert "canary" not in json.dumps(answer.json())


def test_ten_thousand_rows_go_in_at_once(made, scorer):
    rows = [row(100_000 + i, value=i / 7) for i in range(10_000)]

    assert scorer.push(*rows).json()["views"]["orders"] == {"stored": 10_000, "not_newer": 0}
    assert scorer.push(*rows, rows[0]).status_code == 422
