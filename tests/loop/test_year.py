"""The story of a season is told as it was: drift is no fall, and harder questions are nobody's fault.

A few made-up months of a shop; a soak asks it of flights, July to December.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.workspace import Workspace
from monitoring.summary import Culprit, Level
from tests.loop.year import Told, months, tell
from tests.monitoring.shop_log import MODEL, SCHEMA, make_features, make_labels, make_shop
from tests.soak import SOAKING

VALUE = "orders__order_value_eur_30d"
ROWS = 1_500


@dataclass(frozen=True)
class Season:
    """Judged months, and what is known of them."""

    told: list[Told]
    best: int
    """The month in which fewest were positive."""
    worst: int
    """The month in which fewest were clear cases."""
    steady: frozenset[str]
    """Columns that no season moves."""


@pytest.fixture(scope="module")
def season(tmp_path_factory) -> Season:
    return _flights() if SOAKING else _shop(tmp_path_factory.mktemp("season"))


def _flights() -> Season:
    from tests.loop.flights_year import END, MODEL, START, prepare_year

    told = list(tell(prepare_year(), MODEL, months(START, END)))
    named = {drift.column for drift in told[0].summary.features}
    steady = {name for name in named if "distance" in name or "minute_of_day" in name}
    return Season(told, best=9, worst=11, steady=frozenset(steady))


def _shop(folder) -> Season:
    shop = make_shop(folder)
    first, until = (datetime(2024, month, 1, tzinfo=UTC) for month in (4, 8))
    random = np.random.default_rng(1)
    usual = 40 + 10 * random.normal(size=ROWS)
    of_month = {4: usual, 5: usual - 15, 6: 42 + 2.5 * random.normal(size=ROWS), 7: usual[::-1]}
    parts = [_answer(shop, month, values) for month, values in of_month.items()]
    shop.write(pa.concat_tables([rows for rows, _ in parts]))
    labels = np.concatenate([label for _, label in parts])
    shop.post_labels(pa.concat_tables([rows for rows, _ in parts]), labels, after=timedelta(hours=5))
    told = list(tell(Workspace.at(shop.workspace.repo), MODEL, months(first, until)))
    return Season(told, best=5, worst=6, steady=frozenset(SCHEMA.names) - {VALUE})


def _answer(shop, month, values):
    features = make_features(ROWS, seed=month)
    features = features.set_column(0, VALUE, pa.array(values))
    rows = shop.rows(features, name=f"{month}x")
    asked = [datetime(2024, month, 1, tzinfo=UTC) + timedelta(minutes=25 * i) for i in range(ROWS)]
    for place, field in enumerate(rows.schema):
        if field.name == "logged_at" or field.name.endswith("event_timestamp"):
            rows = rows.set_column(place, field, pa.array(asked, field.type))
    return rows, make_labels(features, seed=100 + month)


def month_of(season, number) -> Told:
    return next(told for told in season.told if told.summary.start.month == number)


def test_the_best_month_is_told_as_the_best_though_most_had_drifted(season):
    best = month_of(season, season.best)

    assert best.log_loss == min(told.log_loss for told in season.told)
    assert best.log_loss < best.metric("log_loss").release.value
    assert len(best.drifted) == max(len(told.drifted) for told in season.told) > 0
    assert best.summary.verdict.level is not Level.ALERT
    assert best.summary.blame.culprit in {Culprit.INPUTS_STABLE, Culprit.INPUTS}


def test_the_worst_month_is_told_as_the_worst_and_why(season):
    worst = month_of(season, season.worst)

    assert worst.auc == min(told.auc for told in season.told)
    assert worst.metric("auc").surely
    assert worst.summary.blame.culprit is Culprit.INPUTS
    assert worst.summary.blame.of_questions > worst.summary.blame.of_world


def test_other_months_ask_nobody_to_act(season):
    for told in season.told:
        if told.summary.start.month not in {season.best, season.worst}:
            assert told.summary.verdict.level is not Level.ALERT
            assert told.summary.blame.culprit in {Culprit.STEADY, Culprit.INPUTS_STABLE}


def test_what_no_season_moves_never_drifts_and_nothing_is_broken(season):
    for told in season.told:
        assert season.steady.isdisjoint(told.drifted)
        # Weather reports came twelve hours late in December, which is told and is no alert.
        assert [fault for fault in told.summary.faults if fault.level is Level.ALERT] == []
