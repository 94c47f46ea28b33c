"""A stop rule under peeking: looked at after every block, it is wrong as often as it says."""

import numpy as np
import pytest

from monitoring.sequential import FEWEST_BLOCKS, FEWEST_ROWS, follow
from tests.soak import scale

COURSES, LOOKS = scale(400, 10_000), 365


def normal(random):
    return random.normal(size=LOOKS)


def skewed(random):
    """Means of as few rows as a block may have, of which each is as skewed as can be."""
    return random.exponential(size=(LOOKS, FEWEST_ROWS)).mean(axis=1) - 1


def heavy(random):
    return random.standard_t(4, size=LOOKS)


def rare(random):
    """Days on which both versions agree, but for one in ten."""
    return np.where(random.random(LOOKS) < 0.1, random.normal(size=LOOKS), 0.0)


def growing(random):
    """Blocks of ever more rows, so of ever less noise."""
    return random.normal(size=LOOKS) / np.sqrt(np.arange(1, LOOKS + 1))


@pytest.mark.parametrize("draw", [normal, skewed, heavy, rare, growing], ids=lambda draw: draw.__name__)
def test_equals_are_told_apart_at_most_as_often_as_promised(draw):
    random = np.random.default_rng(5)
    stopped = sum(follow(draw(random)).stopped is not None for _ in range(COURSES))

    assert stopped <= 0.05 * COURSES


def test_a_single_looks_interval_would_be_wrong_far_more_often():
    random = np.random.default_rng(5)
    wrong = 0
    for _ in range(COURSES):
        course = follow(normal(random))
        count = np.arange(1, LOOKS + 1)
        wrong += bool((np.abs(course.mean) > 1.96 / np.sqrt(count))[FEWEST_BLOCKS:].any())

    assert wrong > 0.25 * COURSES


def test_a_version_that_is_better_is_found_soon():
    random = np.random.default_rng(6)
    stops = [follow(0.5 + random.normal(size=LOOKS)).stopped for _ in range(COURSES)]
    found = [stop for stop in stops if stop is not None]

    assert len(found) == COURSES
    assert np.median(found) < 60


def test_the_sign_says_who_is_better():
    random = np.random.default_rng(7)
    worse = follow(random.normal(size=LOOKS) - 1)

    assert worse.high[worse.stopped] < 0
    assert (worse.low <= worse.mean).all()


def test_too_few_blocks_and_twins_say_nothing():
    assert follow(np.ones(FEWEST_BLOCKS - 1) + np.arange(FEWEST_BLOCKS - 1) / 1e3).stopped is None
    assert follow(np.zeros(LOOKS)).stopped is None
    assert follow(np.array([])).stopped is None
