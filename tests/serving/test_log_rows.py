"""What on-demand bodies make of integers and truths is laid out as what the plan says it is."""

import numpy as np
import pytest

from knownat.contract.prediction_log import Role, prediction_schema
from knownat.contract.read_plan import (
    PlanFeature,
    PlanKey,
    PlanTransform,
    PlanView,
    ReadPlan,
    ReadResult,
    Status,
)
from knownat.errors import LogError
from knownat.stores.packed_read import OneRow
from serving.log_rows import Answered, Asked, LogRows

PLAN = ReadPlan(
    project="shop",
    feature_service="basket",
    views=(
        PlanView(
            name="product",
            keys=(PlanKey(view_key="sku", request_key="sku", dtype="string"),),
            ttl_us=0,
            features=(PlanFeature(name="price", dtype="float64"),),
        ),
    ),
    transforms=(
        PlanTransform(
            name="made",
            file="transforms/made.py",
            function="made",
            inputs={"price": "product__price"},
            outputs=(PlanFeature(name="count", dtype="int64"), PlanFeature(name="dear", dtype="bool")),
        ),
    ),
    output_columns=("made__count", "made__dear"),
)
ASKED = Asked("r", 1, 2, Role.CHAMPION, 3)
SCHEMA = prediction_schema(PLAN)
# As made; as laid out.
MADE = [
    (3.0, True, 3, True),
    (float("nan"), np.bool_(False), None, False),
    (np.float64("nan"), None, None, None),
    (np.int64(2**53 + 1), np.True_, 2**53 + 1, True),
    (2.5, True, 2.5, True),
    (None, True, None, True),
]


def laid(row):
    values = dict(zip(SCHEMA.names, row, strict=True))
    return values["made__count"], values["made__dear"]


def types(values):
    return [type(value) for value in values]


@pytest.mark.parametrize(("count", "dear", "wanted", "truth"), MADE)
def test_one_rows_integers_and_truths_are_plain(count, dear, wanted, truth):
    row = OneRow([1.0], [5], [6], [Status.PRESENT])

    found = laid(LogRows("basket", "1", PLAN).one(
        ASKED, ("basket.1", False, 0.5), keys=["A"], inputs=[], row=row, made=[count, dear]
    ))  # fmt: skip

    assert found == (wanted, truth)
    assert types(found) == types((wanted, truth))


def test_without_a_secret_no_key_that_is_to_be_hidden_is_laid_out():
    rows = LogRows("basket", "1", PLAN, pseudonymous=("sku",))
    row = OneRow([1.0], [5], [6], [Status.PRESENT])

    with pytest.raises(LogError, match="there is no secret to hash them with") as refused:
        rows.one(ASKED, ("basket.1", False, 0.5), keys=["canary"], inputs=[], row=row, made=[1, True])
    assert "canary" not in str(refused.value)


def test_many_rows_integers_and_truths_are_plain():
    rows = len(MADE)
    counts, truths, wanted_counts, wanted_truths = zip(*MADE, strict=True)
    columns = {"product__price": [1.0] * rows, "made__count": counts, "made__dear": truths}
    read = ReadResult(
        {"product__price": [1.0] * rows},
        {"product": [5] * rows},
        {"product": [6] * rows},
        {"product": [Status.PRESENT] * rows},
    )
    answered = Answered([f"basket.{i}" for i in range(rows)], [False] * rows, [0.5] * rows)

    found = LogRows("basket", "1", PLAN).many(
        ASKED, answered, keys={"sku": ["A"] * rows}, read=read, columns=columns, inputs=[]
    )

    assert [laid(row) for row in found] == list(zip(wanted_counts, wanted_truths, strict=True))
    assert [types(laid(row)) for row in found] == [
        types(pair) for pair in zip(wanted_counts, wanted_truths, strict=True)
    ]
