"""A search is the same in one run or in many, looks at no test row, and writes what to declare."""

import numpy as np
import optuna
import pytest

import training.tuning
from tests.training.prepared import make_prepared
from training.folds import FoldData
from training.parameter_words import declare, write_params
from training.pipeline import say_nothing
from training.tuning import search


def run(prepared, file, trials):
    return search(prepared, file, trials=trials, folds=2, seed=3, progress=say_nothing)


def tried(file):
    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{file}")
    study = optuna.load_study(study_name=summary.study_name, storage=f"sqlite:///{file}")
    return [(t.params, t.value) for t in study.trials if t.state.name in ("COMPLETE", "PRUNED")]


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    prepared = make_prepared()
    whole = run(prepared, tmp_path / "whole.db", 9)
    run(prepared, tmp_path / "parts.db", 4)
    # Killed in the middle of a trial.
    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path / 'parts.db'}")
    study = optuna.load_study(study_name=summary.study_name, storage=f"sqlite:///{tmp_path / 'parts.db'}")
    study.ask({"num_leaves": optuna.distributions.IntDistribution(7, 127, log=True)})
    parts = run(prepared, tmp_path / "parts.db", 9)
    assert tried(tmp_path / "parts.db") == tried(tmp_path / "whole.db")
    # Nobody will go on with the one that was killed.
    assert [trial.state.name for trial in study.trials].count("FAIL") == 1
    assert (parts.best, parts.params, parts.trials) == (whole.best, whole.params, 9)
    assert run(prepared, tmp_path / "parts.db", 9).trials == 9


def test_what_came_after_the_cutoff_changes_no_trial(tmp_path):
    prepared = make_prepared()
    before = run(prepared, tmp_path / "before.db", 3)
    test = prepared.data.fold.test
    prepared.data.matrix[test] = 1e6
    prepared.data.labels[test] = 1 - prepared.data.labels[test]
    after = run(prepared, tmp_path / "after.db", 3)
    assert (after.declared, after.best, after.params) == (before.declared, before.best, before.params)
    # The same study: nothing that it depends on has changed.
    assert after.study.split(" ")[0] == before.study.split(" ")[0]


def test_other_answers_before_the_cutoff_begin_another_study(tmp_path):
    prepared = make_prepared()
    first = run(prepared, tmp_path / "study.db", 1)
    prepared.data.labels[prepared.data.fold.fit[0]] = 1 - prepared.data.labels[prepared.data.fold.fit[0]]
    other = run(prepared, tmp_path / "study.db", 1)
    assert other.study != first.study
    # So do other folds.
    again = search(prepared, tmp_path / "study.db", trials=1, folds=1, seed=3, progress=say_nothing)
    assert again.study not in (first.study, other.study)


@pytest.mark.parametrize("task", ["regression", "multiclass", "quantile"])
def test_every_task_is_tuned_and_better_is_in_the_metrics_direction(task, tmp_path):
    found = run(make_prepared(task), tmp_path / "study.db", 3)
    assert found.direction == "lower"
    assert found.better == (np.mean(found.best) < np.mean(found.declared))
    assert set(found.params) >= {"num_leaves", "learning_rate", "lambda_l2"}


def test_hopeless_trials_are_given_up_after_their_first_fold(tmp_path, monkeypatch):
    prepared, fits = make_prepared(), []
    original = FoldData.scores

    def counted(self, params, spec):
        fits.append(params)
        return original(self, params, spec)

    monkeypatch.setattr(FoldData, "scores", counted)
    found = run(prepared, tmp_path / "study.db", 12)
    assert found.pruned > 0
    assert len(fits) == 2 + 2 * 12 - found.pruned
    fits.clear()
    assert run(prepared, tmp_path / "study.db", 12) == found
    assert fits == []


def test_a_trial_that_was_measured_on_every_fold_counts_however_bad_it_is(tmp_path, monkeypatch):
    # Of the declared parameters, then of each trial: the metric of its first fold and of its second.
    values = iter([0.6, 0.6, *[0.5, 0.9] * 6, 0.5, 0.1])
    monkeypatch.setattr(FoldData, "scores", lambda self, params, spec: (self.labels, 1))
    monkeypatch.setattr(training.tuning, "measure", lambda *arguments, **options: next(values))
    found = run(make_prepared(), tmp_path / "study.db", 7)
    assert (found.pruned, found.declared, found.best) == (0, (0.6, 0.6), (0.5, 0.9))
    assert tried(tmp_path / "study.db")[-1][1] == 0.3


DECLARATION = """name = "late"  # a remark
[lightgbm]
num_boost_round = 600
params = { num_leaves = 31 }

[[gates]]
metric = "auc"
at_least = 0.7
"""


def test_parameters_are_put_into_a_declaration_and_nothing_else_is_touched():
    changed = declare(DECLARATION, {"num_leaves": 15, "learning_rate": 0.05, "boosting": "gbdt"})
    assert changed == (
        'name = "late"  # a remark\n[lightgbm]\nnum_boost_round = 600\n\n[lightgbm.params]\nnum_leaves = 15\n'
        'learning_rate = 0.05\nboosting = "gbdt"\n\n[[gates]]\nmetric = "auc"\nat_least = 0.7\n'
    )
    apart = DECLARATION.replace("params = { num_leaves = 31 }\n", "\n[lightgbm.params]\nnum_leaves = 31\n")
    assert declare(apart, {"num_leaves": 15}).count("num_leaves") == 1
    assert declare('name = "late"\n', {"num_leaves": 15}).endswith("[lightgbm.params]\nnum_leaves = 15\n")


def test_words_that_would_change_something_else_are_not_written():
    dotted = 'lightgbm.num_boost_round = 600\nname = "late"\n'
    assert declare(dotted, {"num_leaves": 15}) is None
    within = 'description = """\n[lightgbm]\n[x]"""\n[lightgbm]\nnum_boost_round = 600\n'
    assert declare(within, {"num_leaves": 15}) is None
    assert write_params({"extra_trees": True}) == "[lightgbm.params]\nextra_trees = true\n"
