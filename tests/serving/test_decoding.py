"""The compiled decoder takes nothing that the strict reading refuses, and gives the same."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knownat.contract.read_plan import PlanFeature, ReadPlan
from serving.bodies import parse_json
from serving.decoding import Decoder, OneQuestion
from serving.errors import BadRequest
from serving.questions import Question, read_input, read_question
from tests.serving.fakes import INPUTS, KEYS, PLAN
from tests.serving.test_predict import MALFORMED, REFUSED
from tests.soak import scale

BARE = ReadPlan(project="shop", feature_service="bare", views=PLAN.views, output_columns=())
NOTHING = ReadPlan(project="shop", feature_service="nothing", views=(), output_columns=())


def strictly(body, plan):
    return read_question(parse_json(body), plan, new_id=lambda: "new")


def columns(found, plan):
    if isinstance(found, Question):
        return found
    keys = {name: [value] for name, value in found.keys.items()}
    inputs = {name: [value] for name, value in zip(plan.client_inputs, found.inputs, strict=True)}
    return Question(found.request_id, keys, inputs, 1)


def outcome(decode):
    try:
        return decode()
    except BadRequest as refused:
        return refused.message, refused.details


numbers = st.integers() | st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63, 10**30]) | st.floats()
texts = st.text(max_size=4) | st.sampled_from(["", "A-1", "a\0b", "é" * 600, "x" * 2_000])
values = st.none() | st.booleans() | numbers | texts | st.just([1])
keys = st.fixed_dictionaries({}, optional={"customer_id": values, "sku": values, "odd": values})
inputs = st.fixed_dictionaries({}, optional={**dict.fromkeys(INPUTS, values), "question_epoch_us": values})
good = st.fixed_dictionaries(
    {
        "keys": st.fixed_dictionaries({"customer_id": st.integers(-9, 9) | st.none(), "sku": texts}),
        "inputs": st.fixed_dictionaries(
            {"quantity": st.integers(-9, 9), "discount": numbers | st.none(), "channel": texts,
             "gift": st.booleans()}
        ),
    }
)  # fmt: skip
rows = good | st.fixed_dictionaries({}, optional={"keys": keys, "inputs": inputs, "odd": values})
bodies = st.one_of(
    rows,
    st.fixed_dictionaries(
        {"rows": st.lists(rows, max_size=3)}, optional={"request_id": values, "keys": keys}
    ),
    st.fixed_dictionaries({"rows": st.lists(good, min_size=1, max_size=3)}, optional={"request_id": texts}),
    good.flatmap(lambda row: st.builds(lambda name: {**row, "request_id": name}, values)),
)


@settings(max_examples=scale(300, 30_000))
@given(document=bodies, plan=st.sampled_from([PLAN, BARE, NOTHING]))
def test_it_agrees_with_the_strict_reading(document, plan):
    body = json.dumps(document).encode()
    decoder = Decoder(plan, new_id=lambda: "new")

    found = outcome(lambda: columns(decoder.decode(body), plan))

    assert repr(found) == repr(outcome(lambda: strictly(body, plan)))


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_json_is_refused(content):
    with pytest.raises(BadRequest):
        Decoder(PLAN, new_id=lambda: "new").decode(content)


@pytest.mark.parametrize("body", [body for body, _ in REFUSED.values()], ids=REFUSED)
def test_a_refusal_names_every_problem_as_the_strict_reading_does(body):
    content = json.dumps(body).encode()
    found = outcome(lambda: Decoder(PLAN, new_id=lambda: "new").decode(content))

    assert isinstance(found, tuple)
    assert found == outcome(lambda: strictly(content, PLAN))


@pytest.mark.parametrize(
    ("dtype", "lowest", "highest"), [("int32", -(2**31), 2**31 - 1), ("int64", -(2**63), 2**63 - 1)]
)
def test_an_integer_is_taken_up_to_the_bounds_of_its_type(dtype, lowest, highest):
    quantity = PlanFeature(name="quantity", dtype=dtype)
    plan = PLAN.model_copy(update={"request_inputs": (quantity,), "question_time_input": None})

    def taken(number):
        body = json.dumps({"keys": KEYS, "inputs": {"quantity": number}}).encode()
        return outcome(lambda: Decoder(plan, new_id=lambda: "new").decode(body))

    assert [taken(number).inputs for number in (lowest, highest)] == [[lowest], [highest]]
    for number in (lowest - 1, highest + 1):
        assert f"inputs.quantity: must be an integer of {dtype[3:]} bits" in taken(number)[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_number_that_is_none_is_refused_wherever_it_came_from(dtype):
    for number in (math.inf, -math.inf, math.nan):
        assert read_input(dtype, number)[1] == "must be a finite number"


def test_no_more_is_told_than_a_person_reads():
    odd = {f"{number}{'x' * 100}": 1 for number in range(7)}
    rows = [{"keys": {}, "inputs": {}}] * 30

    message, details = outcome(lambda: strictly(json.dumps({"rows": rows}).encode(), PLAN))
    named, _ = outcome(lambda: strictly(json.dumps(odd).encode(), PLAN))

    # Six are missing of a row; the fourth is the last that is looked at.
    assert (message, len(details)) == (
        "The request was refused: row 0, keys.customer_id: is missing (and 23 more).",
        20,
    )
    listed = [*(f"{number}{'x' * 59}" for number in range(5)), "and 2 more"]
    assert named == f"Unknown fields {listed}; a request has 'rows' and 'request_id'."


def test_one_row_is_one_question_in_either_shape():
    decoder = Decoder(PLAN, new_id=lambda: "new")
    row = {"keys": KEYS, "inputs": {**INPUTS, "discount": 1}}
    wanted = OneQuestion("new", {"customer_id": 1, "sku": "A-1"}, [3, 1.0, "web", False])

    for body in (row, {"rows": [row]}, {**row, "request_id": None}):
        found = decoder.decode(json.dumps(body).encode())
        assert repr(found) == repr(wanted)


def test_names_that_are_none_of_pythons_are_fields_all_the_same():
    view = PLAN.views[0]
    odd = view.keys[0].model_copy(update={"request_key": "customer id-1"})
    plan = PLAN.model_copy(update={"views": (view.model_copy(update={"keys": (odd,)}),)})
    body = json.dumps({"keys": {"customer id-1": 1}, "inputs": INPUTS}).encode()

    assert Decoder(plan, new_id=lambda: "new").decode(body).keys == {"customer id-1": 1}
