"""Explanations kept at hand, too late, or failing: told by name, and never logged as answered."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from knownat.contract.log_reader import read_predictions
from knownat.errors import ReleaseError
from knownat.scoring.contributions import refuse_other_sums
from serving import explaining, forms
from serving.explaining import Explaining
from serving.forms import Forms
from tests.serving.parcels import ALWAYS, MODEL, asking, make_parcels

VERSIONS = [SimpleNamespace(name=MODEL, version=str(n), digest=str(n)) for n in range(9)]


@pytest.fixture
def asked(tmp_path):
    with asking(make_parcels(tmp_path)) as made:
        yield made


def logged(asked):
    return read_predictions(asked.parcels.workspace.predictions, MODEL, **ALWAYS).num_rows


def test_an_explanation_that_comes_too_late_is_told_and_not_logged(asked, monkeypatch):
    let_go, explain = threading.Event(), Explaining.explain
    monkeypatch.setattr(Explaining, "explain", lambda *given: (let_go.wait(60), explain(*given))[1])
    lane = asked.app._explain.app.explaining._lane
    lane._deadline = 0.05

    answer = asked.predict(query="?explain=true")
    let_go.set()
    lane._pool.shutdown(wait=True)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "deadline_exceeded")
    assert answer.json()["error"]["message"] == f"'{MODEL}' could not be explained in time. Ask again."
    assert logged(asked) == 0


def test_an_explanation_that_fails_without_a_name_is_told_and_repeats_nothing(asked, monkeypatch):
    def fail(*_):
        raise RuntimeError("canary-secret")

    monkeypatch.setattr(Explaining, "explain", fail)

    answer = asked.predict(query="?explain=true")

    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == f"'{MODEL}' 1 could not score: RuntimeError."
    assert logged(asked) == 0


WITH_NUMPY = """
def load(inputs):
    import numpy as np

    pairs = zip(inputs["weight_kg"], inputs["parcels_count_1d"], strict=True)
    return {"kg_per_parcel": np.array([kg / n if n else np.nan for kg, n in pairs])}
"""


def test_what_an_on_demand_view_makes_with_numpy_is_explained_as_a_plain_number(tmp_path):
    with asking(make_parcels(tmp_path, files={"transforms/load.py": WITH_NUMPY})) as asked:
        answer = asked.predict(depot=1, weight=7.0, query="?explain=true")

    (told,) = answer.json()["predictions"]
    fed = {one["feature"]: one["value"] for one in told["explanation"]["contributions"]}
    assert fed["load__kg_per_parcel"] == 7.0 / 40


def test_an_explained_answer_is_counted_as_one(asked):
    asked.predict(query="?explain=true")

    assert asked.app._explain.app.door.models.get(MODEL).champion.tally.rows == 1


def test_the_explainers_that_were_asked_last_are_kept(tmp_path, monkeypatch):
    loaded = []

    class Loaded:
        @classmethod
        def load(cls, version):
            loaded.append(version)
            return cls()

        def explain(self, columns):
            return columns

    monkeypatch.setattr(explaining, "read_release", lambda path, digest: path.name)
    monkeypatch.setattr(explaining, "Explainer", Loaded)
    kept = Explaining(tmp_path)
    for place in (*range(8), 0, 8, 0, 1):
        kept.explain(VERSIONS[place], {})
    kept.close()

    assert loaded == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "1"]


def test_forms_are_made_once_and_a_few_are_kept(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(forms, "read_release", lambda path, digest: path.name)
    kept = Forms(tmp_path)
    monkeypatch.setattr(forms, "make_form", lambda version: made.append(version) or version)
    for place in (*range(8), 0, 8, 8, 0):
        kept.of(VERSIONS[place])

    assert made == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "0"]


def test_rounding_is_allowed_for_by_the_size_of_what_is_added_up():
    large, small = np.array([[1e6, -1e6, 1.0]]), np.array([[1e-12, 0.0]])
    refuse_other_sums(large, np.array([1.0 + 1e-4]))
    refuse_other_sums(small, np.array([1e-10]))

    with pytest.raises(ReleaseError, match=r"miss the raw score by up to 0\.01"):
        refuse_other_sums(large, np.array([1.0 + 1e-2]))
    with pytest.raises(ReleaseError, match=r"miss the raw score by up to 1e-08"):
        refuse_other_sums(small, np.array([1e-8]))
