"""What a release may carry of an on-demand view, and what it may not."""

import subprocess
import sys
from pathlib import Path

import pytest
from feast import Field, RequestSource
from feast.on_demand_feature_view import OnDemandFeatureView, on_demand_feature_view
from feast.types import Float64, Int64

from knownat.stores.bodies import stand_alone
from knownat.stores.plan import _body, compile_read_plan
from knownat.stores.repo import Repo

INPUTS = RequestSource(name="inputs", schema=[Field(name="x", dtype=Int64)])


@pytest.mark.parametrize(
    ("body", "outside"),
    [
        ("return {'y': RATE}", "RATE"),
        ("return helper(inputs)", "helper"),
        ("return [math.pi for _ in inputs]", "math"),
        ("return (lambda: np.nan)()", "np"),
    ],
)
def test_a_body_that_leans_on_its_module_is_refused_by_the_name_it_uses(body: str, outside: str) -> None:
    _, (problem,) = stand_alone("age", f"@odfv\ndef f(inputs):\n    {body}\n")
    assert problem.startswith(f"on-demand view 'age' uses '{outside}' from outside its body")


def test_a_body_with_its_own_imports_names_and_annotations_stands_alone() -> None:
    source = (
        "@odfv(mode='python')\n"
        "def f(inputs: Columns) -> Columns:\n"
        "    import math\n"
        "    scale = 2\n"
        "    def double(v): return v * scale if v is not None else math.nan\n"
        "    return {'y': [double(v) for v in inputs['x']]}\n"
    )
    body, problems = stand_alone("age", source)
    assert problems == []
    assert body is not None
    assert body.function == "f"
    assert body.source == source.removeprefix("@odfv(mode='python')\n")


@pytest.mark.parametrize(
    "source",
    ["", "x = 1", "def :", "@odfv\ndef f(a, b): return a", "@odfv\ndef f(a=RATE): return a"],
)
def test_what_is_not_one_function_of_its_inputs_is_refused(source: str) -> None:
    _, problems = stand_alone("age", source)
    assert len(problems) == 1


def test_a_view_over_pandas_is_refused_because_it_serves_another_way_than_it_trains() -> None:
    @on_demand_feature_view(sources=[INPUTS], schema=[Field(name="y", dtype=Float64)], mode="pandas")
    def doubled(df):
        df["y"] = df["x"] * 2.0
        return df[["y"]]

    assert isinstance(doubled, OnDemandFeatureView)
    problems: list[str] = []
    assert _body(doubled, problems) is None
    assert problems[0].startswith("on-demand view 'doubled' is of mode 'pandas'")


def test_a_pinned_body_runs_where_the_repo_is_not(repo: Repo, tmp_path: Path) -> None:
    plan, files = compile_read_plan(repo, "churn", question_time_input="question_us")
    (transform,) = plan.transforms
    (tmp_path / transform.file).write_text(files[transform.file])
    ask = (
        f"import runpy; f = runpy.run_path({transform.file!r})[{transform.function!r}]; "
        "print(f({'question_us': [3_000_000], 'last_order_us': [1_000_000]}))"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.stdout == "{'order_age_s': [2.0]}\n"


def test_a_plan_says_how_each_view_is_asked(repo: Repo) -> None:
    plan, files = compile_read_plan(repo, "churn", question_time_input="question_us")
    assert plan.request_keys == {"customer_id": "int64", "home_region": "string"}
    assert plan.client_inputs == {}
    assert [(v.name, v.ttl_us) for v in plan.views] == [
        ("customer_orders", 172_800_000_000),
        ("region_sales", 0),
    ]
    # The on-demand view's own input is read though the service does not promise it.
    assert "last_order_us" in [f.name for f in plan.views[0].features]
    assert "customer_orders__last_order_us" not in plan.output_columns
    assert plan.output_columns[-1] == "order_age__order_age_s"
    again = compile_read_plan(repo, "churn", question_time_input="question_us")
    assert (plan, files) == again
