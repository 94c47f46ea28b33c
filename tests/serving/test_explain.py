"""Why a score is what it is: contributions that add up, asked for by parameter, on a thread of their own."""

import asyncio
import math
import threading

import httpx
import lightgbm
import numpy as np
import pytest

from knownat.clock import from_us
from knownat.contract.log_reader import read_predictions
from knownat.errors import ReleaseError
from knownat.scoring.contributions import Explainer, refuse_other_sums
from serving.errors import ExplainOverloaded
from serving.explaining import Explaining
from serving.keys import Scope, add_key
from serving.openapi import PredictAnswer
from serving.pressure import Pressure
from tests.scoring.small_release import SCHEMA, make_spec, publish_small
from tests.serving.parcels import ALWAYS, MODEL, NOW_US, asking, make_parcels

PREDICT = f"/v1/models/{MODEL}/predict"
EXPLAIN = PREDICT + "?explain=true"


@pytest.fixture(scope="module")
def parcels(tmp_path_factory):
    return make_parcels(tmp_path_factory.mktemp("parcels"))


@pytest.fixture
def asked(parcels):
    with asking(parcels) as made:
        yield made


def explanation(answer, row=0):
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][row]["explanation"]


def test_contributions_are_lightgbms_own_and_add_up_to_the_score(asked, parcels):
    answer = asked.predict(depot=1, weight=7.0, query="?explain=true")

    told = explanation(answer)
    by_feature = {one["feature"]: one["contribution"] for one in told["contributions"]}
    row = np.array([[40.0, 52.5, 1.0, 7.0 / 40]])
    text = (parcels.releases["1"].path / "model.txt").read_text()
    wanted = lightgbm.Booster(model_str=text).predict(row, pred_contrib=True)[0].tolist()
    assert [by_feature[name] for name in SCHEMA.names] == pytest.approx(wanted[:-1], abs=1e-12)
    assert told["base"] == pytest.approx(wanted[-1], abs=1e-12)
    assert told["scale"] == "log_odds"
    assert told["raw_score"] == pytest.approx(told["base"] + sum(by_feature.values()), abs=1e-9)
    assert answer.json()["predictions"][0]["score"] == pytest.approx(
        1 / (1 + math.exp(-told["raw_score"])), abs=1e-12
    )
    PredictAnswer.model_validate(answer.json())


def test_each_class_of_several_has_contributions_that_add_up_to_its_own_raw_score(tmp_path):
    parcels = make_parcels(tmp_path, classes=3)
    with asking(parcels) as asked:
        answer = asked.predict(depot=1, weight=7.0, query="?explain=true")

    told, prediction = explanation(answer), answer.json()["predictions"][0]
    row = np.array([[40.0, 52.5, 1.0, 7.0 / 40]])
    booster = lightgbm.Booster(model_str=(parcels.releases["1"].path / "model.txt").read_text())
    wanted = booster.predict(row, pred_contrib=True)[0].reshape(3, 5)
    raw = booster.predict(row, raw_score=True)[0]
    assert told["scale"] == "class_scores"
    for number, one in enumerate(told["classes"]):
        by_feature = {c["feature"]: c["contribution"] for c in one["contributions"]}
        assert [by_feature[name] for name in SCHEMA.names] == pytest.approx(wanted[number, :-1], abs=1e-12)
        assert one["base"] == pytest.approx(wanted[number, -1], abs=1e-12)
        assert one["raw_score"] == pytest.approx(raw[number], abs=1e-12)
        assert one["base"] + sum(by_feature.values()) == pytest.approx(one["raw_score"], abs=1e-9)
    assert told["class"] == prediction["class"] == int(np.argmax(raw))
    assert {name: told[name] for name in ("base", "raw_score", "contributions")} == told["classes"][
        told["class"]
    ]
    shares = np.exp(raw) / np.exp(raw).sum()
    assert prediction["shares"] == pytest.approx(shares.tolist(), abs=1e-12)
    PredictAnswer.model_validate(answer.json())


def test_the_largest_contribution_comes_first_with_the_value_that_was_fed(asked):
    told = explanation(asked.predict(depot=1, weight=7.0, query="?explain=true"))["contributions"]

    sizes = [abs(one["contribution"]) for one in told]
    assert sizes == sorted(sizes, reverse=True)
    assert {one["feature"]: one["value"] for one in told} == {
        "depot__parcels_count_1d": 40,
        "depot__delay_mean_min_1d": 52.5,
        "depot__region": "south",
        "load__kg_per_parcel": 7.0 / 40,
    }


def test_what_is_missing_is_explained_as_missing(asked):
    told = explanation(asked.predict(depot=None, weight=7.0, query="?explain=true"))["contributions"]

    assert {one["value"] for one in told} == {None}


def test_rows_are_explained_in_their_order_and_score_as_without(asked):
    rows = [{"keys": {"depot_id": depot}, "inputs": {"weight_kg": 7.0}} for depot in (2, 1, 3)]

    answer = asked.post(EXPLAIN, json={"rows": rows})

    plain = asked.post(PREDICT, json={"rows": rows}).json()["predictions"]
    assert [p["score"] for p in answer.json()["predictions"]] == [p["score"] for p in plain]
    assert "explanation" not in plain[0]
    fed = [
        {one["feature"]: one["value"] for one in explanation(answer, row)["contributions"]}
        for row in range(3)
    ]
    assert [one["depot__region"] for one in fed] == ["north", "south", "islands"]


def test_an_explained_answer_is_logged_once(asked, parcels):
    answer = asked.predict(query="?explain=true").json()

    log = read_predictions(parcels.workspace.predictions, MODEL, **ALWAYS)
    ids = log["prediction_id"].to_pylist()
    assert ids.count(answer["predictions"][0]["prediction_id"]) == 1


def test_no_parameter_and_a_false_one_are_a_prediction(asked):
    for query in ("", "?explain=false", "?other=1"):
        answer = asked.predict(query=query)
        assert answer.status_code == 200
        assert "explanation" not in answer.json()["predictions"][0]


@pytest.mark.parametrize("query", ["?explain=1", "?explain=", "?explain=yes", "?explain=true&explain=true"])
def test_another_value_is_refused(asked, query):
    answer = asked.predict(query=query)

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request")
    told = asked.app._explain.app.door.metrics.exposition()
    assert b'knownat_requests_total{model="",route="explain",status="422"} 1.0' in told


def test_more_rows_than_can_be_explained_are_refused(asked):
    row = {"keys": {"depot_id": 1}, "inputs": {"weight_kg": 7.0}}

    assert asked.post(EXPLAIN, json={"rows": [row] * 100}).status_code == 200
    answer = asked.post(EXPLAIN, json={"rows": [row] * 101})

    assert answer.status_code == 422
    assert "at most 100" in answer.json()["error"]["message"]


def test_an_explanation_takes_a_key_of_its_own(parcels, tmp_path):
    keys = tmp_path / "keys.json"
    _, predicts = add_key(keys, "shop", frozenset({Scope.PREDICT}), now_us=NOW_US, days=None)
    _, explains = add_key(keys, "desk", frozenset({Scope.EXPLAIN}), now_us=NOW_US, days=None)
    body = {"keys": {"depot_id": 1}, "inputs": {"weight_kg": 7.0}}

    def status(key):
        return asked.post(EXPLAIN, json=body, headers={"authorization": f"Bearer {key}"}).status_code

    with asking(parcels, keys=keys) as asked:
        assert (status(predicts), status(explains), status("")) == (403, 200, 401)


def test_a_release_that_changed_is_not_explained(tmp_path):
    parcels = make_parcels(tmp_path)
    with asking(parcels) as asked:
        model = parcels.releases["1"].path / "model.txt"
        model.write_text(model.read_text() + "\n")

        answer = asked.predict(query="?explain=true")

        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "explain_failed")
        assert asked.predict().status_code == 200
        log = read_predictions(parcels.workspace.predictions, MODEL, **ALWAYS)
        assert log.num_rows == 1  # what was not answered is not logged


def test_a_version_past_its_sunset_is_not_explained_either(tmp_path):
    parcels = make_parcels(tmp_path)
    parcels.publish("2", spec=make_spec(sunset=from_us(NOW_US)))
    parcels.deploy("1", pinned=(parcels.deployed("2"),))

    with asking(parcels) as asked:
        told = asked.predict(path=f"/v1/models/{MODEL}/versions/2/predict", query="?explain=true")

    assert (told.status_code, told.json()["error"]["code"]) == (410, "gone")


def test_where_too_many_wait_nothing_is_explained(parcels):
    with asking(parcels, pressure=Pressure(most=2, waiting=3)) as asked:
        told = asked.predict(query="?explain=true")

    assert (told.status_code, told.json()["error"]["code"]) == (503, "overloaded")


def test_another_release_in_the_place_of_the_one_that_serves_is_not_explained(tmp_path):
    parcels = make_parcels(tmp_path)
    other = publish_small(tmp_path / "other", "1", opposite=True)
    with asking(parcels) as asked:
        parcels.releases["1"].path.rename(tmp_path / "away")
        other.path.rename(parcels.releases["1"].path)

        told = asked.predict(query="?explain=true")

    assert (told.status_code, told.json()["error"]["code"]) == (500, "explain_failed")


class WrongSums:
    """A booster whose contributions are not those of its scores."""

    def contributions(self, matrix):
        return np.ones((len(matrix), 5))

    def predict_raw(self, matrix):
        return np.zeros((len(matrix), 1))


def test_an_explainer_gives_no_contributions_that_miss_the_score():
    row = {"depot__parcels_count_1d": [1], "depot__delay_mean_min_1d": [2.0], "depot__region": ["north"],
           "load__kg_per_parcel": [3.0]}  # fmt: skip

    with pytest.raises(ReleaseError, match="miss the raw score by up to 5"):
        Explainer(SCHEMA, WrongSums(), "score").explain(row)


def test_one_class_whose_contributions_miss_its_score_is_enough_to_refuse():
    found, raw = np.zeros((4, 3, 6)), np.zeros((4, 3))
    found[..., 0], raw[:] = 0.5, 0.5
    refuse_other_sums(found, raw)
    raw[3, 1] = 0.51

    with pytest.raises(ReleaseError, match=r"miss the raw score by up to 0\.01"):
        refuse_other_sums(found, raw)


def test_contributions_that_miss_the_score_are_refused():
    sums = np.array([[0.5, -0.25, 1.0], [3.0, 1.0, -2.0]])
    refuse_other_sums(sums, np.array([1.25, 2.0]))

    with pytest.raises(ReleaseError, match=r"miss the raw score by up to 0\.01"):
        refuse_other_sums(sums, np.array([1.25, 2.01]))
    with pytest.raises(ReleaseError):
        refuse_other_sums(sums, np.array([1.25, np.nan]))


def test_more_explanations_than_can_wait_are_shed_by_name(tmp_path):
    explaining, go = Explaining(tmp_path, most_waiting=2), threading.Event()

    async def ask_three():
        first = [asyncio.ensure_future(explaining.run(lambda: go.wait(30))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ExplainOverloaded) as refused:
            await explaining.run(lambda: True)
        assert refused.value.headers == {"retry-after": "1"}
        go.set()
        assert await asyncio.gather(*first) == [True, True]
        return await explaining.run(lambda: "room again")

    assert asyncio.run(ask_three()) == "room again"
    assert explaining.shed == 1
    explaining.close()


def test_predictions_go_on_while_an_explanation_takes_its_time(asked, monkeypatch):
    begun, go = threading.Event(), threading.Event()
    explain = Explaining.explain

    def slow(*given):
        begun.set()
        assert go.wait(30)
        return explain(*given)

    monkeypatch.setattr(Explaining, "explain", slow)
    body = {"keys": {"depot_id": 1}, "inputs": {"weight_kg": 7.0}}

    async def both():
        transport = httpx.ASGITransport(app=asked.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://scorer") as client:
            explained = asyncio.ensure_future(client.post(EXPLAIN, json=body))
            await asyncio.to_thread(begun.wait, 30)
            predicted = [await client.post(PREDICT, json=body) for _ in range(3)]
            waiting = not explained.done()
            go.set()
            return waiting, predicted, await explained

    waiting, predicted, explained = asyncio.run(both())
    assert waiting
    assert [answer.status_code for answer in predicted] == [200, 200, 200]
    assert explanation(explained)["scale"] == "log_odds"
