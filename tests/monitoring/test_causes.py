"""Every difference gets its true cause, in worlds where each was put in on purpose."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView
from knownat.stores.tables import CREATED_US, EVENT_US, VISIBLE_US
from monitoring.causes import Cause, explain
from monitoring.served_rows import NEVER, Answers, ViewCase
from tests.monitoring.skewed import SHAPES, Confusion, Shape, confusion
from tests.soak import scale

SEEDS = range(scale(1, 25))


SURE = {False: 0.98, True: 0.999}
"""Of one kind of view. From the log alone a late row looks like lag until something newer was served."""


@cache
def counted(shape: Shape, *, steps_known: bool) -> Confusion:
    """Count what every difference in some worlds comes from, and what it was named."""
    worlds = (confusion(shape, seed, predictions=4_000, steps_known=steps_known) for seed in SEEDS)
    return sum(worlds, Counter())


def share_right(found: Confusion) -> float:
    differences = {pair: values for pair, values in found.items() if pair[0] is not None}
    return sum(n for (true, named), n in differences.items() if true == named) / sum(differences.values())


@pytest.mark.parametrize("steps_known", [False, True], ids=["from the log alone", "steps known"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_causes_are_named_as_they_were_put_in(shape, steps_known):
    found = counted(shape, steps_known=steps_known)
    mismatches = sum(values for (true, _), values in found.items() if true is Cause.MISMATCH)

    # No difference is missed, and none is made up.
    assert not [pair for pair in found if (pair[0] is None) != (pair[1] is None)]
    assert share_right(found) >= SURE[steps_known]
    assert found[Cause.MISMATCH, Cause.MISMATCH] == mismatches > 100


@pytest.mark.parametrize("steps_known", [False, True], ids=["from the log alone", "steps known"])
def test_of_all_differences_99_in_100_are_named_right(steps_known):
    assert share_right(sum((counted(s, steps_known=steps_known) for s in SHAPES), Counter())) >= 0.99


def case(*, served, truth, rows, asked=100, status="present", said=None):
    """One question of customer 1 about one feature; rows are (customer, event, created, value)."""
    view = PlanView(
        name="orders",
        keys=(PlanKey(view_key="customer", request_key="customer", dtype="int64"),),
        ttl_us=0,
        features=(PlanFeature(name="value", dtype="float64"),),
    )
    columns = {"customer": pl.Int64, EVENT_US: pl.Int64, CREATED_US: pl.Int64, "value": pl.Float64}
    table = pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        pl.max_horizontal(EVENT_US, CREATED_US).alias(VISIBLE_US)
    )
    return ViewCase(
        view=view,
        keys=pl.DataFrame({"customer": [1]}),
        asked_us=np.array([asked]),
        served=answers(served, status),
        truth=answers(truth, "present" if truth else "not_found"),
        rows=table.filter(pl.col("customer") == 1),
        find_elsewhere=lambda: table,
        said_us=None if said is None else np.array([said]),
    )


def answers(row, status):
    event, created, value = row or (NEVER, NEVER, None)
    values = pl.DataFrame({"value": pl.Series([value], dtype=pl.Float64, strict=False)})
    return Answers(np.array([status]), np.array([event]), np.array([created]), values)


def cause(**given):
    return explain(case(**given))["value"][0]


OLD, NEW, LATER = (1, 10, 10, 1.0), (1, 50, 60, 2.0), (1, 50, 160, 2.0)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (None, {"served": (50, 60, 2.0), "truth": (50, 60, 2.0), "rows": [OLD, NEW]}),
        (None, {"served": (10, 10, float("nan")), "truth": None, "rows": []}),
        (Cause.LAG, {"served": (10, 10, 1.0), "truth": (50, 60, 2.0), "rows": [OLD, NEW]}),
        (Cause.LATE_OR_CORRECTED, {"served": (50, 55, 1.0), "truth": (50, 60, 2.0), "rows": [OLD, NEW]}),
        (Cause.MISSING_OFFLINE, {"served": (40, 40, 1.0), "truth": (50, 60, 2.0), "rows": [OLD, NEW]}),
        (Cause.MISSING_OFFLINE, {"served": (40, 40, 1.0), "truth": None, "rows": []}),
        (
            Cause.TOO_EARLY,
            {"served": (50, 160, 2.0), "truth": (10, 10, 1.0), "rows": [OLD, (1, 50, 160, 2.0)]},
        ),
        (Cause.MISMATCH, {"served": (50, 60, 2.1), "truth": (50, 60, 2.0), "rows": [OLD, NEW]}),
        (Cause.MISMATCH, {"served": (10, 10, 9.9), "truth": (50, 60, 2.0), "rows": [OLD, NEW]}),
        (Cause.DTYPE, {"served": (50, 60, 3.0), "truth": (50, 60, 3.7), "rows": [OLD, (1, 50, 60, 3.7)]}),
        (Cause.NULL_DEFAULT, {"served": (50, 60, 0.0), "truth": (50, 60, None), "rows": [(1, 50, 60, None)]}),
        (
            Cause.WRONG_KEY,
            {"served": (40, 40, 7.5), "truth": (50, 60, 2.0), "rows": [OLD, NEW, (2, 40, 40, 7.5)]},
        ),
        (
            # What other rows of the event's time are like says nothing of those that were written with it.
            Cause.WRONG_KEY,
            {
                "served": (40, 40, 7.5),
                "truth": (50, 60, 2.0),
                "rows": [NEW, (2, 40, 40, 7.5), *[(customer, 40, 41, 5.0) for customer in range(3, 9)]],
            },
        ),
        (
            # A second row of the same times: offline the other one counts now.
            Cause.LATE_OR_CORRECTED,
            {"served": (50, 60, 1.5), "truth": (50, 60, 2.0), "rows": [OLD, NEW, (1, 50, 60, 1.5)]},
        ),
        (
            Cause.LATE_OR_CORRECTED,
            {"served": (50, 60, 1.5), "truth": (50, 60, 2.0), "rows": [OLD, (1, 50, 60, 1.5), NEW]},
        ),
        (
            # Of a value that many share a match says nothing of whose row it was.
            Cause.MISMATCH,
            {
                "served": (50, 60, 7.5),
                "truth": (50, 60, 2.0),
                "rows": [NEW, *[(customer, 50, 60, 7.5) for customer in range(2, 9)]],
            },
        ),
    ],
)
def test_single_answers(expected, given):
    assert cause(**given) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("unavailable", Cause.MISSING_ONLINE),
        ("last_known", Cause.MISSING_ONLINE),
        ("not_yet", Cause.TOO_EARLY),
    ],
)
def test_what_the_store_said_of_itself_goes_first(status, expected):
    assert cause(served=None, truth=(50, 60, 2.0), rows=[OLD, NEW], status=status) is expected


def several(*asked_and_served, said=None):
    """Questions of customer 1, of which training would see the row NEW that was visible from 60 on."""
    one = case(served=OLD[1:], truth=NEW[1:], rows=[OLD, NEW])
    asked, served = zip(*asked_and_served, strict=True)
    rows = {"old": OLD[1:], "new": NEW[1:]}
    sides = [[rows[name] for name in served], [NEW[1:]] * len(served)]
    made = [
        Answers(
            np.array(["present"] * len(side)),
            *(np.array([row[place] for row in side]) for place in (0, 1)),
            pl.DataFrame({"value": [row[2] for row in side]}),
        )
        for side in sides
    ]
    return replace(
        one,
        keys=pl.DataFrame({"customer": [1] * len(served)}),
        asked_us=np.array(asked),
        served=made[0],
        truth=made[1],
        said_us=None if said is None else np.array(said),
    )


def test_a_row_that_was_never_seen_is_only_late_until_the_store_is_proven_to_have_been_written():
    assert cause(served=None, truth=NEW[1:], rows=[NEW], status="not_found") is Cause.LAG


def test_questions_of_one_instant_prove_something_of_each_other():
    found = explain(several((50, "old"), (100, "old"), (100, "new")))["value"]

    assert found[1:] == [Cause.LATE_OR_CORRECTED, None]


def test_what_is_said_of_writing_is_believed_where_most_rows_bear_it_out():
    early, late = [(100, "old")] * 8, [(200, "new")] * 30
    said = [asked for asked, _ in (*early, *late)]

    assert set(explain(several(*early, *late))["value"][:8]) == {Cause.LAG}
    assert set(explain(several(*early, *late, said=said))["value"][:8]) == {Cause.LATE_OR_CORRECTED}
    # Nobody was served what is said to have been written.
    alone = several(*[(100, "old")] * 40, said=[100] * 40)
    assert set(explain(alone)["value"]) == {Cause.LAG}


def test_of_a_feature_that_is_computed_otherwise_no_single_value_is_explained():
    true = [number + 0.5 for number in range(30)]
    # Five of the thirty are what a cast would make of them, too.
    served = [float(int(v)) if number < 5 else 3 * v + 100 for number, v in enumerate(true)]
    one = case(served=NEW[1:], truth=NEW[1:], rows=[(1, 50, 60, 2.0)])
    sides = [
        Answers(np.array(["present"] * 30), np.full(30, 50), np.full(30, 60), pl.DataFrame({"value": values}))
        for values in (served, true)
    ]
    rows = pl.concat(
        [one.rows.with_columns(customer=pl.lit(n, pl.Int64), value=v) for n, v in enumerate(true)]
    )
    found = explain(
        replace(
            one,
            keys=pl.DataFrame({"customer": range(30)}),
            asked_us=np.full(30, 100),
            served=sides[0],
            truth=sides[1],
            rows=rows,
            find_elsewhere=lambda: rows,
        )
    )

    assert set(found["value"]) == {Cause.OTHER_DEFINITION}


def test_a_time_to_live_that_only_one_side_holds_a_row_to():
    row, held = (50, 60, 2.0), (50, 60, None)

    assert cause(served=held, truth=row, rows=[OLD, NEW], status="expired") is Cause.TTL
    given = case(served=row, truth=held, rows=[OLD, NEW])
    truth = replace(given.truth, status=np.array(["expired"]))
    assert explain(replace(given, truth=truth))["value"] == [Cause.TTL]


def test_a_view_without_entities_is_explained_too():
    given = case(served=(10, 10, 1.0), truth=(50, 60, 2.0), rows=[OLD, NEW])
    lone = ViewCase(
        view=given.view.model_copy(update={"keys": ()}),
        keys=given.keys.select([]),
        asked_us=given.asked_us,
        served=given.served,
        truth=given.truth,
        rows=given.rows.drop("customer"),
        find_elsewhere=lambda: given.rows.drop("customer"),
    )

    assert explain(lone)["value"] == [Cause.LAG]
