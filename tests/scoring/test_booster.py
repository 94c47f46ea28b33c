import os
import subprocess
import sys

import lightgbm
import numpy as np
import pytest

from knownat.errors import ReleaseError, SchemaMismatch
from knownat.scoring.booster import Booster

TASKS = {
    "binary": {"objective": "binary"},
    "regression": {"objective": "regression_l1"},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "quantile": {"objective": "quantile", "alpha": 0.9},
}


def questions(rows: int) -> np.ndarray:
    """Numbers, nulls, a category, and what no training row held: huge, infinite, unseen."""
    dice = np.random.default_rng(rows)
    matrix = dice.normal(size=(rows, 4))
    matrix[:, 3] = dice.integers(0, 5, rows)
    matrix[dice.random((rows, 4)) < 0.1] = np.nan
    matrix[:4, 0] = [np.inf, -np.inf, 1e30, -1e300]
    return matrix


@pytest.fixture(params=list(TASKS))
def package(request) -> lightgbm.Booster:
    matrix = np.nan_to_num(questions(600), posinf=9, neginf=-9)
    labels = (matrix[:, 0] + matrix[:, 3] > 1).astype(float) + (matrix[:, 1] > 1)
    labels = np.minimum(labels, 1) if request.param == "binary" else labels
    data = lightgbm.Dataset(matrix, labels, categorical_feature=[3])
    return lightgbm.train({**TASKS[request.param], "num_threads": 1, "verbosity": -1}, data, 15)


def test_scores_are_those_of_the_package(package):
    booster = Booster.from_bytes(package.model_to_string().encode())
    asked = questions(257)
    wanted = np.asarray(package.predict(asked, num_threads=1))
    assert np.max(np.abs(booster.predict(asked) - wanted)) <= 1e-12
    one_by_one = np.array([booster.predict_one(row) for row in asked]).reshape(wanted.shape)
    assert np.max(np.abs(one_by_one - wanted)) <= 1e-12


def small() -> Booster:
    data = lightgbm.Dataset(np.arange(80.0).reshape(40, 2), np.arange(40.0))
    return Booster.from_bytes(lightgbm.train({"verbosity": -1}, data, 3).model_to_string().encode())


def test_another_number_of_columns_is_refused():
    booster = small()
    with pytest.raises(SchemaMismatch, match="the model needs"):
        booster.predict(np.zeros((5, 3)))
    with pytest.raises(SchemaMismatch, match=r"shape \(2,\); the model needs \(n, 2\)"):
        booster.predict(np.zeros(2))
    for values in (np.zeros(1), ["1", 2.0], [10**400, 2.0]):
        with pytest.raises(SchemaMismatch, match="2 numbers, which the model needs"):
            booster.predict_one(values)


def test_a_text_that_lightgbm_refuses_is_refused_by_its_reason():
    with pytest.raises(ReleaseError, match=r"refuses the model: .*the number of classes\. Train the model"):
        Booster.from_bytes(b"not a model")


def test_a_row_that_lightgbm_cannot_predict_has_no_score():
    booster = small()
    booster._predict_row = lambda *_: -1

    with pytest.raises(ReleaseError, match="LightGBM failed"):
        booster.predict_one([1.0, 2.0])


def test_no_rows_have_no_scores():
    assert small().predict(np.empty((0, 2))).shape == (0,)


def test_columns_in_another_memory_order_score_the_same():
    asked = np.arange(20.0).reshape(10, 2)
    assert np.array_equal(small().predict(np.asfortranarray(asked)), small().predict(asked))


def test_a_closed_booster_refuses_instead_of_crashing():
    booster = small()
    booster.close()
    booster.close()
    with pytest.raises(ReleaseError, match="closed"):
        booster.predict(np.zeros((1, 2)))
    with pytest.raises(ReleaseError, match="closed"):
        booster.predict_one(np.zeros(2))


ONE_THREAD = """
import os, sys
import numpy as np
from pathlib import Path
from knownat.scoring.booster import Booster
before = len(os.listdir("/proc/self/task"))
booster = Booster.from_bytes(Path(sys.argv[1]).read_bytes())
booster.predict(np.zeros((20_000, booster.num_features)))
booster.predict_one(np.zeros(booster.num_features))
print(len(os.listdir("/proc/self/task")) - before, sorted({"lightgbm", "pandas", "feast"} & set(sys.modules)))
"""


def test_it_starts_no_threads_and_imports_no_package(tmp_path, package):
    (tmp_path / "model.txt").write_text(package.model_to_string())
    environment = {**os.environ, "OMP_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", ONE_THREAD, str(tmp_path / "model.txt")],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "0 []"
