"""One row alone scores as it does among others, and is refused for the same reasons."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knownat.contract.read_plan import PlanFeature
from knownat.contract.schema import Column, FeatureSchema
from knownat.errors import ReleaseError, SchemaMismatch, TransformFailed
from knownat.scoring.row_program import RowProgram
from knownat.scoring.scorer import Scorer
from knownat.scoring.transforms import load_transform
from tests.scoring.small_release import PLAN, SCHEMA, SOURCE, publish_small
from tests.soak import scale

STORED = ("depot__parcels_count_1d", "depot__delay_mean_min_1d", "depot__region")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return Scorer.load(publish_small(tmp_path_factory.mktemp("release")))


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.none()
rows = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    numbers,
    st.none() | st.sampled_from(["north", "south", "unseen", ""]),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
)


@settings(max_examples=scale(200, 20_000))
@given(some=st.lists(rows, min_size=2, max_size=6))
def test_a_row_alone_scores_as_among_others(scorer, some):
    columns = {name: [row[i] for row in some] for i, name in enumerate(STORED)}
    together = scorer.score(scorer.columns(columns, {"weight_kg": [row[3] for row in some]}))

    alone = [scorer.score_one(row[:3], row[3:]).scores[0] for row in some]

    assert max(abs(a - b) for a, b in zip(alone, together, strict=True)) <= 1e-12


def test_what_was_made_is_given_back(scorer):
    assert scorer.score_one([4, 1.0, "north"], [6.0]).made == [1.5]
    assert scorer.score_one([None, None, None], [6.0]).made == [None]


def program(scorer, *, source=SOURCE, schema=SCHEMA, plan=PLAN):
    load = plan.transforms[0]
    return RowProgram(
        plan, schema, [load_transform(load, source, client_inputs=["weight_kg"])], scorer.booster
    )


MADE = {
    "half a parcel": ("0.5", "int64"),
    "an integer no double holds": ("2.0 ** 60", "int64"),
    "an integer beyond 64 bits": ("2 ** 63", "int64"),
    "text": ("'1'", "float64"),
    "a number": ("1", "bool"),
    "a list": ("[1.0]", "float64"),
    "a number for text": ("1", "category"),
}


@pytest.mark.parametrize(("made", "dtype"), MADE.values(), ids=MADE)
def test_an_on_demand_value_of_another_type_is_refused_alone_as_among_others(scorer, made, dtype):
    source = f"def load(inputs):\n    return {{'kg_per_parcel': [{made} for kg in inputs['weight_kg']]}}"
    categories = ("light", "heavy") if dtype == "category" else None
    column = Column(name="load__kg_per_parcel", dtype=dtype, categories=categories)
    schema = FeatureSchema(columns=(*SCHEMA.columns[:3], column))

    with pytest.raises(SchemaMismatch, match="load__kg_per_parcel"):
        program(scorer, source=source, schema=schema).run([1, 1.0, "north"], [6.0])
    with pytest.raises(SchemaMismatch, match="load__kg_per_parcel"):
        schema.matrix(dict(zip(schema.names, [[1], [1.0], ["north"], [eval(made)]], strict=True)))


TAKEN = {
    "a truth": "True",
    "an integer": "7",
    "a whole float": "7.0",
    "an integer of NumPy's": "__import__('numpy').int64(7)",
    "a float of NumPy's": "__import__('numpy').float32(7.0)",
    "null": "None",
    "NaN": "float('nan')",
}


@pytest.mark.parametrize("made", TAKEN.values(), ids=TAKEN)
def test_an_on_demand_number_is_taken_as_among_others(scorer, made):
    source = f"def load(inputs):\n    return {{'kg_per_parcel': [{made} for kg in inputs['weight_kg']]}}"
    schema = FeatureSchema(columns=(*SCHEMA.columns[:3], Column(name="load__kg_per_parcel", dtype="int64")))

    alone = program(scorer, source=source, schema=schema).run([1, 1.0, "north"], [6.0]).scores

    matrix = schema.matrix(dict(zip(schema.names, [[1], [1.0], ["north"], [eval(made)]], strict=True)))
    assert alone == scorer.booster.predict(matrix).tolist()


@pytest.mark.parametrize("made", ["{}", "{'kg_per_parcel': []}", "{'kg_per_parcel': [1.0, 2.0]}"])
def test_outputs_other_than_promised_are_refused(scorer, made):
    with pytest.raises(ReleaseError, match="On-demand view 'load' made"):
        program(scorer, source=f"def load(inputs):\n    return {made}").run([1, 1.0, "north"], [6.0])


def test_a_body_that_raises_names_the_view_and_no_value(scorer):
    source = "def load(inputs):\n    return {'kg_per_parcel': [int('x') for kg in inputs['weight_kg']]}"

    with pytest.raises(TransformFailed) as failed:
        program(scorer, source=source).run([1, 1.0, "north"], [6.0])

    assert str(failed.value) == "On-demand view 'load' cannot take these values (ValueError)."
    assert failed.value.from_request


def test_a_plan_that_lacks_a_model_column_is_refused(scorer):
    schema = FeatureSchema(columns=(*SCHEMA.columns, Column(name="load__speed", dtype="float64")))

    with pytest.raises(ReleaseError, match="load__speed"):
        program(scorer, schema=schema)


@pytest.mark.parametrize("stored", [[1, 1.0], [1, 1.0, "north", 2]])
def test_a_row_of_another_length_is_refused(scorer, stored):
    with pytest.raises(SchemaMismatch, match="no row of 4 stored values"):
        scorer.score_one(stored, [6.0])


READS = {
    "inputs['price']": {"price"},
    "[i for i in inputs['price']] + inputs['quantity']": {"price", "quantity"},
    "inputs.get('price')": {"price", "quantity"},
    "inputs[name]": {"price", "quantity"},
    "list(inputs)": {"price", "quantity"},
    "(inputs['price'], inputs)": {"price", "quantity"},
}


@pytest.mark.parametrize(("body", "read"), READS.items(), ids=READS)
def test_only_the_arguments_that_a_body_can_read_are_made(body, read):
    view = PLAN.transforms[0].model_copy(
        update={"inputs": {"price": "depot__price", "quantity": "quantity"},
                "outputs": (PlanFeature(name="kg_per_parcel", dtype="float64"),)}
    )  # fmt: skip
    source = f"def load(inputs):\n    name = 'price'\n    return {{'kg_per_parcel': {body}}}"

    loaded = load_transform(view, source, client_inputs=["quantity"])

    assert {argument for argument, _ in loaded.reads} == read
    assert loaded.from_request == ("quantity" in read)
