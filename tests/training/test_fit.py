from dataclasses import replace

import lightgbm
import numpy as np
import pytest

from knownat.errors import SchemaMismatch
from tests.training.made import BASELINES, METRIC, make_dataset, make_frame, make_spec
from training.baselines import Numbers, predict_baselines
from training.dataset import learn_schema
from training.evaluation import evaluate
from training.fit import fit

TASKS = list(METRIC)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_fitted_scored_and_better_than_its_baselines(task):
    spec, data = make_dataset(task)
    fitted = fit(data, spec)
    test = data.fold.test
    found = evaluate(
        spec,
        make_frame(task).take(test),
        labels=data.labels[test],
        scores=fitted.predict(data.matrix[test]),
        baselines=predict_baselines(data, spec, make_frame(task)),
    )
    own, better = found.metrics[spec.metric], 1 if spec.direction == "higher" else -1
    for name in {"prior", "median", "static"} & set(BASELINES[task]):
        assert better * (own.value - found.baselines[name][spec.metric]) > 0
    assert own.low < own.value < own.high
    if "logistic" in found.baselines:  # the truth is linear: the baseline must be a good one
        assert abs(own.value - found.baselines["logistic"][spec.metric]) < 0.12


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_the_package(task):
    spec, data = make_dataset(task)
    fitted = fit(data, spec)
    package = lightgbm.Booster(model_str=fitted.model.decode())
    wanted = np.asarray(package.predict(data.matrix, num_threads=1))
    assert np.max(np.abs(fitted.predict(data.matrix) - wanted)) <= 1e-12


def test_the_same_rows_give_the_same_bytes():
    spec, data = make_dataset()
    assert fit(data, spec).model == fit(data, spec).model


def test_nothing_after_the_cutoff_changes_the_model():
    spec, data = make_dataset()
    future = data.fold.test
    labels, matrix = data.labels.copy(), data.matrix.copy()
    labels[future], matrix[future] = 1 - labels[future], 7.0
    assert fit(replace(data, labels=labels, matrix=matrix), spec).model == fit(data, spec).model


def test_the_newest_known_labels_count():
    spec, data = make_dataset()
    labels = data.labels.copy()
    labels[data.fold.fit[-20:]] = 1 - labels[data.fold.fit[-20:]]
    fixed = spec.model_copy(
        update={"lightgbm": spec.lightgbm.model_copy(update={"early_stopping_rounds": 0})}
    )
    assert fit(replace(data, labels=labels), fixed).model != fit(data, fixed).model


def test_early_stopping_is_judged_on_the_validation_side():
    spec, data = make_dataset()
    labels = data.labels.copy()
    dice = np.random.default_rng(1)
    labels[data.fold.validation] = dice.integers(0, 2, len(data.fold.validation))
    told = []
    stopped = fit(replace(data, labels=labels), spec, report=lambda *event: told.append(event))
    assert stopped.best_iteration < fit(data, spec).best_iteration
    assert told[-1] == ("fit", stopped.best_iteration, stopped.best_iteration)


def test_a_mean_absolute_error_is_fitted_as_one():
    spec, data = make_dataset("regression")
    assert b"objective=regression_l1" in fit(data, spec).model
    assert b"objective=regression\n" in fit(data, make_spec("regression", metric="rmse")).model


def test_categories_are_learned_from_the_rows_it_is_fitted_to():
    frame = make_frame()
    schema = learn_schema(frame, ["parcel__kind", "depot__open", "parcel_id"], np.arange(0, 2_000))
    assert [c.dtype for c in schema.columns] == ["category", "bool", "int64"]
    assert schema.columns[0].categories == ("bag", "box")
    only_box = np.flatnonzero(np.array(frame["parcel__kind"].to_pylist()) == "box")
    assert learn_schema(frame, ["parcel__kind"], only_box).columns[0].categories == ("box",)


def test_columns_no_booster_takes_are_named():
    with pytest.raises(SchemaMismatch, match="event_timestamp"):
        learn_schema(make_frame(), ["event_timestamp", "depot__load"], np.arange(5))


def test_a_static_baseline_sees_its_views_and_columns_only():
    _, data = make_dataset()
    assert data.only(["parcel"]).schema.names == ("parcel__kind", "parcel__weight")
    assert data.only(["depot__open"]).matrix.shape == (3_000, 1)
    with pytest.raises(SchemaMismatch, match="No column is in"):
        data.only(["par"])


def test_numbers_of_a_regression_are_finite_whatever_the_columns_hold():
    _, data = make_dataset()
    matrix = data.matrix.copy()
    matrix[:, 1], matrix[:, 3] = np.nan, 5.0
    matrix[0, 0] = 1e30
    made = Numbers.learn(replace(data, matrix=matrix)).of(matrix)
    assert np.isfinite(made).all()
    assert np.abs(made).max() <= 10


def test_a_row_of_weight_two_is_a_row_that_was_there_twice():
    spec, data = make_dataset("regression")
    spec = spec.model_copy(
        update={
            "lightgbm": spec.lightgbm.model_copy(update={"early_stopping_rounds": 0, "num_boost_round": 1})
        }
    )
    alike = replace(data, weights=np.ones(len(data.labels)))
    assert np.array_equal(fit(alike, spec).predict(data.matrix), fit(data, spec).predict(data.matrix))
    heavy = data.labels > np.median(data.labels)
    weighted = replace(data, weights=np.where(heavy, 9.0, 1.0))
    assert fit(weighted, spec).predict(data.matrix).mean() > fit(data, spec).predict(data.matrix).mean() + 0.1
    assert replace(weighted).only(["depot"]).weights is weighted.weights


def test_a_logistic_baseline_counts_rows_by_their_weight():
    spec, data = make_dataset("binary")
    heavy = replace(data, weights=np.where(data.labels == 1, 9.0, 1.0))
    frame = make_frame("binary")
    with_weights, without = (predict_baselines(d, spec, frame)["logistic"].mean() for d in (heavy, data))
    assert with_weights > without + 0.1
