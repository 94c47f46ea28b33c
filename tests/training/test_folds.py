"""Folds before the cutoff know nothing of what came after them, and never touch the test."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from knownat.clock import to_us
from knownat.errors import ConfigError
from tests.training.made import CUTOFF
from tests.training.prepared import make_prepared
from training.folds import folds_before_cutoff
from training.split import microseconds


# An answer takes up to ten hours: without a gap some are still open when the validation days begin.
@pytest.mark.parametrize(("count", "gap"), [(1, 12), (3, 12), (3, 0)])
def test_a_fold_is_fitted_to_what_was_known_when_its_validation_began(count, gap):
    split = {"cutoff": CUTOFF, "validation_days": 10, "gap_hours": gap, "test_days": 20}
    prepared = make_prepared(time=split)
    frame, test = prepared.joined.frame, set(prepared.data.fold.test.tolist())
    asked, known = (microseconds(frame[name]) for name in ("event_timestamp", "label_timestamp"))
    folds = folds_before_cutoff(prepared, count)
    assert len(folds) == count
    for number, fold in enumerate(folds):
        begin = CUTOFF - (count - number) * timedelta(days=10)
        assert asked[fold.validation].min() >= to_us(begin)
        assert asked[fold.validation].max() < to_us(begin + timedelta(days=10))
        assert asked[fold.train].max() < to_us(begin - timedelta(hours=gap))
        assert known[fold.train].max() <= to_us(begin)
        assert not test & {*fold.train.tolist(), *fold.validation.tolist()}
    # The last days before the cutoff are judged too, but for the gap before it.
    assert asked[folds[-1].validation].max() < to_us(CUTOFF - timedelta(hours=gap))
    assert len(np.unique(np.concatenate([f.validation for f in folds]))) == sum(
        len(f.validation) for f in folds
    )


def test_a_fold_is_made_of_nothing_but_the_rows_that_the_model_is_fitted_to():
    prepared = make_prepared()
    fold = prepared.data.fold
    fewer = replace(prepared.data, fold=replace(fold, fit=fold.fit[::2]))
    for found in folds_before_cutoff(replace(prepared, data=fewer), 2):
        assert {*found.train.tolist(), *found.validation.tolist()} <= set(fold.fit[::2].tolist())


def test_too_many_folds_are_named():
    with pytest.raises(ConfigError, match="fold 1: its training side has no answered question"):
        folds_before_cutoff(make_prepared(), 6)


def test_a_fold_whose_answers_are_all_one_is_named():
    prepared = make_prepared()
    asked = microseconds(prepared.joined.frame["event_timestamp"])
    first = (asked >= to_us(CUTOFF - timedelta(days=20))) & (asked < to_us(CUTOFF - timedelta(days=10)))
    prepared.data.labels[first] = 0.0
    with pytest.raises(ConfigError, match="fold 1: the answers of its validation side are all one"):
        folds_before_cutoff(prepared, 2)
