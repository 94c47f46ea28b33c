"""How well one column alone tells the answer, and how sure that is."""

import numpy as np

from tests.training.made import make_spec
from training.strength import as_yes_or_no, judged_alone, strength

dice = np.random.default_rng(8)


def test_the_strength_of_a_column_is_its_auc_with_an_error_that_shrinks():
    answers = np.tile([0.0, 1.0], 2_000)
    scores = answers + dice.normal(size=4_000)
    small, large = strength(scores[:400], answers[:400]), strength(scores, answers)
    assert large.low < large.auc < large.high
    # Two normal groups one deviation apart rank with an AUC of 0.76.
    assert abs(large.auc - 0.76) < 0.02
    assert small.high - small.low > 2.5 * (large.high - large.low)
    assert strength(answers, answers).low > 0.99
    assert np.isnan(strength(scores, np.ones(4_000)).auc)


def test_a_column_is_judged_on_rows_it_was_not_learned_from():
    answers = dice.integers(0, 2, 2_000).astype(float)
    # A category a row: learned by heart on the earlier half, it says nothing of the later one.
    scores = judged_alone(np.arange(2_000, dtype=float), answers, categorical=True)
    assert len(np.unique(scores)) == 1


def test_chance_may_put_at_least_one_row_in_the_wrong_place():
    found = strength(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    # Three times one pair of four.
    assert (found.auc, found.low, found.high, found.rows) == (1.0, 0.25, 1.75, 4)


def test_a_rare_category_is_drawn_to_the_mean_and_a_missing_value_is_one_of_its_own():
    nan = np.nan
    column = np.array([0.0, 0, 0, 0, nan, nan, 1, 1, 1, 2, 0, nan, 1, 2, 3, 0, 0, 0, 0, 0])
    answers = np.array([1.0, 1, 1, 1, 0, 0, 0, 1, 0, 0] + [0.0] * 10)
    scores = judged_alone(column, answers, categorical=True)
    # Half of the earlier ten answers are yes; each mean is taken with ten rows more that say so.
    known, empty, one, two, never = 9 / 14, 5 / 12, 6 / 13, 5 / 11, 0.5
    np.testing.assert_allclose(scores, [known, empty, one, two, never, *[known] * 5], rtol=1e-12)


def test_ranges_are_those_of_the_earlier_half():
    earlier, later = np.arange(64.0), np.array([-1e9, 0, 31, 63, 1e9, np.nan])
    answers = np.r_[(np.arange(64) >= 32).astype(float), np.zeros(64)]
    column = np.r_[earlier, np.tile(later, 11)[:64]]
    below, first, middle, last, above, empty = judged_alone(column, answers, categorical=False)[:6]
    # Two rows a range, however far away the later values are.
    assert (below, first, last, above) == (5 / 12, 5 / 12, 7 / 12, 7 / 12)
    assert (middle, empty) == (5 / 12, 0.5)


def test_a_column_without_any_value_to_learn_from_ranks_nothing():
    nothing = np.r_[np.full(10, np.nan), np.arange(10.0)]
    answers = np.tile([0.0, 1.0], 10)
    assert np.unique(judged_alone(nothing, answers, categorical=False)).tolist() == [0.5]
    assert judged_alone(np.array([3.0]), np.array([1.0]), categorical=False).tolist() == [0.5]


def test_answers_of_any_task_become_two():
    assert as_yes_or_no(np.array([1.0, 2.0, 9.0]), make_spec("regression")).tolist() == [0, 0, 1]
    assert as_yes_or_no(np.array([2.0, 2.0, 1.0]), make_spec("multiclass")).tolist() == [1, 1, 0]
