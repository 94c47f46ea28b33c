"""What the scores alone promise: as wide as it has to be, blind to a changed world, honest about both."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.scoring.metrics import measure
from monitoring.estimate import FEWEST_WINDOWS, estimate_metrics, expected_metric
from monitoring.windows import Window
from tests.monitoring.shop_log import make_spec
from tests.soak import scale

DAY = Window(datetime(2024, 6, 3, tzinfo=UTC), datetime(2024, 6, 4, tzinfo=UTC))
WEEK = Window(datetime(2024, 6, 3, tzinfo=UTC), datetime(2024, 6, 10, tzinfo=UTC))
METRICS = ("auc", "average_precision", "log_loss", "brier")


def draw(random, rows, *, bias=0.0, moods=0.0):
    """Scores that say ``bias`` more than is true in every window, and by so much another in each."""
    truth = random.beta(2, 5, rows)
    labels = (random.random(rows) < truth).astype(np.float64)
    said = np.log(truth / (1 - truth)) + bias + moods * random.normal()
    return 1 / (1 + np.exp(-said)), labels


def days(random, count, *, rows=120, **how):
    """So many days before the window, side by side."""
    parts = [draw(random, rows, **how) for _ in range(count)]
    step = timedelta(days=1) / rows
    when = [DAY.start - (count - d) * timedelta(days=1) + i * step for d in range(count) for i in range(rows)]
    scores, labels = (np.concatenate(side) for side in zip(*parts, strict=True))
    return pa.table({"event_timestamp": when, "label": labels, "score": scores})


def spec(min_rows=100):
    made = make_spec()
    return made.model_copy(update={"monitoring": made.monitoring.model_copy(update={"min_rows": min_rows})})


def estimate(scores, *past, window=DAY):
    return {found.metric: found for found in estimate_metrics(spec(), scores, past, window)}


@pytest.mark.parametrize("metric", METRICS)
def test_expected_metric_is_the_mean_over_labels_drawn_by_the_scores(metric):
    random = np.random.default_rng(3)
    scores = random.beta(2, 5, 400)
    drawn = [measure(metric, (random.random(400) < scores).astype(float), scores) for _ in range(600)]

    assert expected_metric(metric, scores) == pytest.approx(np.mean(drawn), abs=0.006)


PASTS = (5, 8, 30)
WORLDS = {
    "calibrated": {},
    "always says too much": {"bias": 0.6},
    "as wrong as ever, each day otherwise": {"bias": -0.4, "moods": 0.4},
}


def count_inside(world, *, past_days, windows):
    """Count by metric in how many windows the truth was in the range."""
    inside = dict.fromkeys(METRICS, 0)
    for seed in range(windows):
        # Another past each time: a promise of one lucky past is none.
        random = np.random.default_rng((past_days, seed))
        past = days(random, past_days, **world)
        scores, labels = draw(random, 120, **world)
        for metric, found in estimate(scores, past).items():
            inside[metric] += found.range.low <= measure(metric, labels, scores) <= found.range.high
    return inside


@pytest.mark.parametrize("past_days", PASTS)
@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_the_truth_is_in_the_range_as_often_as_is_said(world, past_days):
    windows = scale(40, 1_000)

    inside = count_inside(world, past_days=past_days, windows=windows)

    assert {metric: count for metric, count in inside.items() if count < 0.9 * windows} == {}


def test_a_range_is_no_wider_than_the_past_was_wrong():
    random = np.random.default_rng(4)
    scores, _ = draw(random, 120)

    quiet, moody = (estimate(scores, days(random, 30, moods=moods))["log_loss"] for moods in (0.0, 0.8))

    assert 0.05 < quiet.range.high - quiet.range.low < 0.25
    assert moody.range.high - moody.range.low > 1.5 * (quiet.range.high - quiet.range.low)


def test_few_rows_widen_a_range_whatever_the_past_had():
    random = np.random.default_rng(4)
    past = days(random, 30, rows=2_000)
    many, few = (estimate(draw(random, rows)[0], past)["auc"].range for rows in (2_000, 125))

    assert few.high - few.low == pytest.approx(4 * (many.high - many.low), rel=0.35)


def test_scores_that_always_say_too_much_are_corrected_by_what_they_missed_before():
    random = np.random.default_rng(9)
    scores, labels = draw(random, 4_000, bias=0.6)

    found = estimate(scores, days(random, 30, bias=0.6))["log_loss"]

    truth = measure("log_loss", labels, scores)
    assert expected_metric("log_loss", scores) > truth + 0.02
    assert found.value == pytest.approx(truth, abs=0.02)
    assert found.bias < -0.02


def test_the_test_and_what_was_answered_since_teach_together():
    random = np.random.default_rng(9)
    test, since = days(random, 9, bias=0.6), days(random, 4, bias=0.6)
    earlier = test.set_column(0, "event_timestamp", pa.array(_shifted(test, -60)))

    assert estimate(draw(random, 400)[0], earlier, since)["auc"].windows == 13


def test_a_world_that_changed_is_not_seen_by_an_estimate():
    random = np.random.default_rng(9)
    scores, labels = draw(random, 4_000)

    found = estimate(scores, days(random, 30))["auc"]

    assert measure("auc", 1 - labels, scores) < 0.4 < 0.5 < found.range.low


@pytest.mark.parametrize(("past_days", "weeks"), [(60, 8), (35, 5), (34, 4), (3, 0)])
def test_there_is_no_range_until_enough_windows_are_known(past_days, weeks):
    random = np.random.default_rng(9)

    found = estimate(draw(random, 800)[0], days(random, past_days), window=WEEK)["auc"]

    assert found.windows == weeks
    assert (found.range is None) == (weeks < FEWEST_WINDOWS)


def test_without_a_past_the_scores_are_taken_at_their_word():
    scores, _ = draw(np.random.default_rng(9), 800)
    lacking = days(np.random.default_rng(9), 30).drop(["event_timestamp"])

    for past in ((), (lacking,), (lacking.slice(0, 0),)):
        found = estimate(scores, *past)["auc"]
        assert (found.value, found.range, found.bias) == (expected_metric("auc", scores), None, 0.0)


def test_nothing_is_estimated_from_few_rows():
    scores, _ = draw(np.random.default_rng(9), 99)

    assert estimate(scores, days(np.random.default_rng(9), 30)) == {}


def test_what_teaches_is_what_came_before_the_window_with_a_known_label():
    random = np.random.default_rng(9)
    scores, past = draw(random, 400)[0], days(random, 30, bias=0.6)
    of_the_window = past.set_column(0, "event_timestamp", pa.array(_shifted(past, 30)))
    unlabelled = past.set_column(1, "label", pa.nulls(past.num_rows, pa.float64()))
    shuffled = past.take(pa.array(random.permutation(past.num_rows)))
    thin = days(random, 10, rows=49, bias=-2.0)
    earlier = thin.set_column(0, "event_timestamp", pa.array(_shifted(thin, -60)))
    usual = estimate(scores, past)

    assert usual["auc"].windows == 30
    assert estimate(scores, pa.concat_tables([past, of_the_window])) == usual
    assert estimate(scores, pa.concat_tables([past, unlabelled])) == usual
    assert estimate(scores, earlier, past) == usual
    assert estimate(scores, shuffled)["brier"].bias == pytest.approx(usual["brier"].bias, abs=1e-12)


def test_a_year_of_weeks_teaches_and_no_more():
    random = np.random.default_rng(9)
    past = pa.concat_tables(
        [
            table.set_column(0, "event_timestamp", pa.array(_shifted(table, -number)))
            for number, table in ((30, days(random, 30, bias=0.6)), (0, days(random, 30)))
        ]
    )

    assert estimate(draw(random, 400)[0], past)["auc"].windows == 52


def test_past_windows_of_one_class_teach_nothing_of_ranking():
    random = np.random.default_rng(9)
    past = days(random, 9)
    first = np.arange(past.num_rows) < 120
    labels = np.where(first, 0.0, past["label"].to_numpy())

    found = estimate(draw(random, 400)[0], past.set_column(1, "label", pa.array(labels)))

    assert (found["auc"].windows, found["brier"].windows) == (8, 9)
    assert np.isfinite(found["auc"].value)


def test_of_many_rows_chance_is_drawn_on_some_and_counted_for_all():
    random = np.random.default_rng(9)
    past, some = days(random, 9), draw(random, 20_000)[0]
    # Windows in which everything came as the scores said: chance alone is left.
    exact = past.set_column(1, "label", past["score"])

    few, many = (estimate(scores, exact)["log_loss"].range for scores in (some, np.repeat(some, 2)))

    assert few.high - few.low == pytest.approx(2**0.5 * (many.high - many.low))


def test_only_what_scores_can_say_of_their_task_is_estimated():
    random = np.random.default_rng(9)
    past = days(random, 30)
    number = spec().model_copy(update={"task": "regression", "metric": "mae"})

    assert estimate_metrics(number, draw(random, 400)[0], (past,), DAY) == ()
    # Nothing can be ranked where every score is the same sure no.
    assert "auc" not in estimate(np.zeros(400), past)


def test_a_range_stays_where_the_metric_can_be():
    random = np.random.default_rng(2)
    found = estimate(np.full(120, 0.02), days(random, 5, bias=2.0, moods=2.0))

    assert all(e.range.low >= 0.0 for e in found.values())
    assert found["brier"].range.high <= 1.0


def _shifted(table, number):
    return [moment + timedelta(days=number) for moment in table["event_timestamp"].to_pylist()]
