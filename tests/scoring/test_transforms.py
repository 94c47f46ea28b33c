import pytest

from knownat.contract.read_plan import PlanFeature, PlanTransform
from knownat.errors import ReleaseError
from knownat.scoring.transforms import load_transform, run_transform

VIEW = PlanTransform(
    name="basket",
    file="basket.py",
    function="basket",
    inputs={"price": "product__price", "quantity": "quantity"},
    outputs=(PlanFeature(name="total", dtype="float64"),),
)


def run(source, columns):
    return run_transform(load_transform(VIEW, source), columns)


def test_a_body_gets_its_inputs_by_its_own_names_and_answers_by_full_names():
    source = """
def basket(inputs: dict[str, list]) -> Anything:
    import math
    def worth(price, quantity):
        return None if price is None else math.floor(price) * quantity
    pairs = zip(inputs["price"], inputs["quantity"], strict=True)
    return {"total": [worth(price, quantity) for price, quantity in pairs]}
"""
    columns = {"product__price": [1.5, None], "quantity": (2, 3)}
    assert run(source, columns) == {"basket__total": [2, None]}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def basket(inputs):\n    return {'total': [RATE * p for p in inputs['price']]}", r"\['RATE'\]"),
        ("def basket(inputs):\n    return {'total': [np.floor(p) for p in inputs['price']]}", r"\['np'\]"),
        ("@view\ndef basket(inputs):\n    return {}", "undecorated"),
        ("RATE = 2\ndef basket(inputs):\n    return {}", "the one undecorated function"),
        ("def other(inputs):\n    return {}", "the one undecorated function 'basket'"),
        ("def basket(inputs, rate=print('run')):\n    return {}", "without a default"),
        ("def basket(inputs=None):\n    return {}", "without a default"),
        ("def basket(inputs, *, rate=2):\n    return {}", "without a default"),
        ("def basket(inputs, rate):\n    return {}", "must take one argument"),
        ("def basket():\n    return {}", "must take one argument"),
        ("def basket(inputs)", "not Python"),
        ("", "the one undecorated function"),
    ],
)
def test_a_body_that_does_not_stand_alone_is_refused_by_name(source, reason):
    with pytest.raises(ReleaseError, match=f"On-demand view 'basket'.*{reason}"):
        load_transform(VIEW, source)


def test_nothing_runs_on_load(capsys):
    load_transform(VIEW, "def basket(inputs: print('run')) -> print('run'):\n    return {}")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("body", "reason"), [("{}", r"made no \['total'\]"), ("{'total': [1.0]}", "of another length")]
)
def test_outputs_other_than_promised_are_refused(body, reason):
    with pytest.raises(ReleaseError, match=reason):
        run(f"def basket(inputs):\n    return {body}", {"product__price": [1.0, 2.0], "quantity": [1, 1]})
