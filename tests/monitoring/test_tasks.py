"""Models of numbers and of classes are judged from end to end as those of yes and no are."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.clock import FixedClock, to_us
from monitoring.pipeline import monitor_window
from monitoring.rescoring import Rescorer
from monitoring.summary import Culprit
from tests.monitoring.judged import judge, with_column
from tests.monitoring.rivals import add_version, as_other, days_of_questions
from tests.monitoring.shop_log import (
    MODEL,
    MULTICLASS,
    REGRESSION,
    START,
    make_features,
    make_labels,
    make_shop,
)

VALUE, CITY = "orders__order_value_eur_30d", "profile__city"
ROWS, DAYS = 1_500, 40


@pytest.fixture(scope="module", params=[REGRESSION, MULTICLASS], ids=lambda kind: kind.task)
def made(request, tmp_path_factory):
    """A shop whose model is of this kind; nothing is written to its log."""
    return request.param, make_shop(tmp_path_factory.mktemp("kind"), kind=request.param)


def usual(kind, seed=1):
    features = make_features(ROWS, seed=seed)
    return features, make_labels(features, seed=seed + 100, kind=kind)


def test_a_usual_window_has_no_culprit(made):
    kind, shop = made

    summary = judge(shop, *usual(kind))

    assert summary.headline.metric == kind.metric
    assert summary.blame.culprit is Culprit.STEADY, summary.blame.text
    assert summary.performance.estimates == ()


def test_a_broken_view_is_the_pipelines_with_its_share(made):
    kind, shop = made
    features, labels = usual(kind)
    broken = with_column(features, VALUE, features[VALUE].to_numpy() * 60)

    blame = judge(shop, broken, labels).blame

    assert blame.culprit is Culprit.PIPELINE, blame.text
    assert (blame.groups[0].group, blame.groups[0].how) == ("orders", "restored")
    assert blame.groups[0].loss == pytest.approx(blame.fall, rel=0.2)
    assert blame.of_values + blame.of_questions + blame.of_world == pytest.approx(blame.fall)


def test_values_that_are_gone_are_the_pipelines(made):
    kind, shop = made
    features, labels = usual(kind)

    blame = judge(shop, with_column(features, VALUE, pa.nulls(ROWS, pa.float64())), labels).blame

    assert blame.culprit is Culprit.PIPELINE, blame.text
    assert blame.groups[0].how == "lost"


def test_other_outcomes_in_a_slice_are_a_world_that_changed(made):
    kind, shop = made
    features, labels = usual(kind)
    there = np.array(features[CITY].to_pylist()) == "Athens"
    other = {"regression": labels - 60, "multiclass": 2 - labels}[kind.task]

    blame = judge(shop, features, np.where(there, other, labels)).blame

    assert blame.culprit is Culprit.WORLD, blame.text
    assert (blame.hotspot.column, blame.hotspot.bucket) == (CITY, "Athens")


def test_a_class_that_the_model_does_not_know_is_left_out_and_breaks_nothing(tmp_path):
    shop = make_shop(tmp_path, kind=MULTICLASS)
    features, labels = usual(MULTICLASS)
    labels = np.where(np.arange(ROWS) % 10 == 0, 7.0, (labels + 1) % 3)

    summary = judge(shop, features, labels)

    assert summary.performance.labelled == 0.9 * ROWS
    assert summary.headline.surely
    assert summary.blame.culprit is Culprit.WORLD


def rivals(made, tmp_path, *, role):
    """Forty days in which a poor version answered too; the page of the last day, and its contest."""
    kind, _ = made
    shop = make_shop(tmp_path / "home", kind=kind)
    rows, labels = days_of_questions(shop, days=DAYS, rows_a_day=60, seed=31, kind=kind)
    shop.post_labels(rows, labels, after=timedelta(hours=5))
    poor = Rescorer(add_version(shop, "v2", noise=8.0, kind=kind))
    theirs = np.ones(len(rows), bool) if role == "shadow" else np.arange(len(rows)) % 4 == 0
    asked = rows.filter(pa.array(theirs))
    given = as_other(asked, "v2", role, poor.score(asked), mark="c")
    if role == "challenger":
        given = given.set_column(0, "prediction_id", asked["prediction_id"])
        rows = rows.filter(pa.array(~theirs))
    shop.write(rows)
    shop.write(given, name="c", version="v2")
    end = START + timedelta(days=DAYS)
    return monitor_window(
        shop.workspace,
        MODEL,
        start=START,
        end=end,
        clock=FixedClock(to_us(end + timedelta(hours=48))),
    )


@pytest.mark.parametrize("role", ["shadow", "challenger"])
def test_another_version_stands_beside_the_champion_on_the_same_rows(made, tmp_path, role):
    kind, _ = made

    report = rivals(made, tmp_path, role=role)

    (found,) = report.summary.performance.comparisons
    assert (found.role, found.rows, found.blocks, found.note) == (role, DAYS * 60, DAYS, "")
    assert (found.decision, found.loss) == ("worse", kind.metric)
    assert found.lead.high < 0
    assert found.gain_range.high < 0
    page = (report.folder / "page.html").read_text()
    assert "Other versions on the same rows" in page
    assert "worse" in page
    assert (report.folder / "performance.html").is_file()
