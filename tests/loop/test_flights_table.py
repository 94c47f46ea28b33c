"""The parts of the flights' table that need no flights."""

import numpy as np
import pyarrow as pa
import pytest

from tests.loop.flights_models import auc_by_month, shuffled
from tests.loop.flights_page import KNOWN, LEADS, MONTHS, draw_leads, draw_rows, off_by_more, page
from tests.loop.flights_table import merge
from training.split import Fold

METRICS = ("auc", "average_precision", "log_loss", "brier", "ece")


@pytest.fixture
def found():
    def measured(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01, "rows": 9}

    rows = {name: {metric: measured(known) for metric in METRICS} for name, known in KNOWN.items()}
    leads = {lead: measured(known) for lead, (_, known) in LEADS.items()}
    leads["2 HOURS"] = measured(KNOWN["honest"])
    counted = {"months": dict(MONTHS), "tested": 82_609, "base_rate": 0.2214, "columns": 112}
    return {"rows": rows, "leads": leads, **counted}


def test_what_is_as_known_is_not_told_and_what_is_off_is_told_by_name(found):
    assert off_by_more(found) == []
    found["rows"]["static"]["auc"]["value"] += 0.006
    found["leads"]["6 HOURS"]["value"] -= 0.006
    found["months"]["2013-12"] += 0.004
    found["rows"]["leaky_served"]["auc"]["value"] -= 0.0059
    assert off_by_more(found) == [
        "static only: AUC 0.6490, known to be 0.643",
        "leaking, served: AUC 0.7211, known to be 0.727",
        "asked 6 hours before: AUC 0.7220, known to be 0.728",
    ]


def test_the_page_holds_every_number_and_both_drawings(found):
    text = page(found)
    assert "**A leak promises 0.813 and gets 0.727.**" in text
    assert "\nby 0.047; served what is really known it loses 0.039 to it." in text
    assert "82,609 flights of which 22.1% came late" in text
    assert "| honest features, random split | 0.8110 (0.801 to 0.821) |" in text
    assert text.index("| 24 hours |") < text.index("| 2 hours | 0.7660 |") < text.index("| 30 minutes |")
    for drawing in (draw_rows(found), draw_leads(found)):
        assert drawing.startswith("<svg")


def test_what_several_processes_found_is_one_document():
    honest = {"auc": 1}
    parts = [{"rows": {"honest": honest}, "tested": 5}, {"rows": {"b": 2}}, {"leads": {"6 HOURS": 3}}]
    assert merge(parts) == {
        "rows": {"honest": honest, "b": 2},
        "leads": {"2 HOURS": 1, "6 HOURS": 3},
        "tested": 5,
    }


def test_a_run_that_was_stopped_has_a_page_of_the_rows_it_has(found):
    for name in ("leaky_promised", "leaky_served", "own_delay"):
        del found["rows"][name]
    del found["leads"]["6 HOURS"]
    text = page(found)
    assert "A leak promises" not in text
    assert "| **honest LightGBM** | 0.7660" in text
    assert "| 6 hours |" not in text
    assert off_by_more(found) == []
    assert "leaking" not in draw_rows(found)


def test_a_random_split_has_the_same_rows_on_sides_of_the_same_sizes():
    fold = Fold(
        train=np.arange(50), validation=np.arange(60, 80), fit=np.arange(90), test=np.arange(100, 130)
    )
    made = shuffled(fold)
    assert (len(made.validation), len(made.fit), len(made.test)) == (20, 90, 30)
    assert sorted([*made.fit, *made.test]) == [*range(90), *range(100, 130)]
    assert sorted([*made.train, *made.validation]) == made.fit.tolist()
    assert len(set(made.test) & set(fold.fit)) > 10


def test_a_month_is_that_of_departure_on_new_yorks_clock():
    # 03:59 and 04:00 UTC on 1 November: the last minute of October in New York, and the first of November.
    departs = [1_383_278_340, 1_383_278_340, 1_383_278_400, 1_383_278_400]
    test = pa.table({"scheduled_departure_epoch_s": departs})
    found = auc_by_month(test, np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.9, 0.9, 0.1]))
    assert found == {"2013-10": 1.0, "2013-11": 0.0}
