"""What the scores alone promise: right while the world stays, blind when it changes, honest about both."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.scoring.metrics import measure
from monitoring.estimate import estimate_metrics, expected_metric
from monitoring.windows import Window
from tests.monitoring.shop_log import make_spec
from tests.soak import scale

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAY = Window(datetime(2024, 6, 3, tzinfo=UTC), datetime(2024, 6, 4, tzinfo=UTC))
WEEK = Window(datetime(2024, 6, 3, tzinfo=UTC), datetime(2024, 6, 10, tzinfo=UTC))


def draw(random, rows):
    scores = random.beta(2, 5, rows)
    return scores, (random.random(rows) < scores).astype(np.float64)


def make_holdout(seed, *, days=60, rows_a_day=120, bias=0.0):
    """A test whose scores say ``bias`` more than is true."""
    random = np.random.default_rng(seed)
    scores, labels = draw(random, days * rows_a_day)
    when = [FIRST + timedelta(days=i // rows_a_day, minutes=i % rows_a_day) for i in range(len(scores))]
    return pa.table({"event_timestamp": when, "label": labels, "score": np.clip(scores + bias, 0, 1)})


@pytest.mark.parametrize("metric", ["auc", "average_precision", "log_loss", "brier"])
def test_expected_metric_is_the_mean_over_labels_drawn_by_the_scores(metric):
    random = np.random.default_rng(3)
    scores = random.beta(2, 5, 400)
    drawn = [measure(metric, (random.random(400) < scores).astype(float), scores) for _ in range(600)]

    assert expected_metric(metric, scores) == pytest.approx(np.mean(drawn), abs=0.006)


def test_the_truth_of_a_usual_window_is_in_the_range():
    windows, spec = scale(60, 1_000), make_spec()
    inside, holdout = 0, make_holdout(0)
    for seed in range(windows):
        scores, labels = draw(np.random.default_rng(1_000 + seed), 120)
        headline = estimate_metrics(_wanting(spec, 100), scores, holdout, DAY)[0]
        assert headline.metric == "auc"
        inside += headline.range.low <= measure("auc", labels, scores) <= headline.range.high

    assert inside >= 0.88 * windows


def test_scores_that_always_say_too_much_are_corrected_by_what_they_missed_in_the_test():
    scores, labels = draw(np.random.default_rng(9), 4_000)
    spoken = np.clip(scores + 0.1, 0, 1)

    found = {e.metric: e for e in estimate_metrics(make_spec(), spoken, make_holdout(1, bias=0.1), DAY)}

    truth = measure("log_loss", labels, spoken)
    assert expected_metric("log_loss", spoken) > truth + 0.02
    assert found["log_loss"].value == pytest.approx(truth, abs=0.02)
    assert found["log_loss"].bias < -0.02


def test_a_world_that_changed_is_not_seen_by_an_estimate():
    scores, labels = draw(np.random.default_rng(9), 4_000)

    found = estimate_metrics(make_spec(), scores, make_holdout(1), DAY)[0]

    assert measure("auc", 1 - labels, scores) < 0.4 < 0.6 < found.range.low


def test_weeks_overlap_where_the_test_is_too_short_for_many_of_them():
    scores, _ = draw(np.random.default_rng(9), 800)

    assert estimate_metrics(make_spec(), scores, make_holdout(1), WEEK)[0].windows == 54
    assert estimate_metrics(make_spec(), scores, make_holdout(1, days=27), WEEK) == ()


def test_nothing_is_estimated_from_few_rows_or_without_a_past():
    scores, _ = draw(np.random.default_rng(9), 800)
    holdout = make_holdout(1)

    assert estimate_metrics(make_spec(), scores[:199], holdout, DAY) == ()
    assert estimate_metrics(make_spec(), scores, holdout.drop(["event_timestamp"]), DAY) == ()
    assert estimate_metrics(make_spec(), scores, holdout.slice(0, 0), DAY) == ()


def _wanting(spec, rows):
    return spec.model_copy(update={"monitoring": spec.monitoring.model_copy(update={"min_rows": rows})})
