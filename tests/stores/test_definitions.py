"""Definitions are found in the files, whatever Feast makes of them."""

from pathlib import Path

import pytest

from knownat.stores.definitions import Definition, compare_definitions, find_definitions

VIEW = "from feast import FeatureView\n"


def names(text: str, folder: Path) -> list[Definition]:
    (folder / "views.py").write_text(text)
    return [f.definition for f in find_definitions([folder / "views.py"], folder) if f.definition]


@pytest.mark.parametrize(
    "text",
    [
        VIEW + "a = FeatureView(name='orders')",
        VIEW + "views = [FeatureView(name='orders')]",
        VIEW + "def make():\n    return FeatureView(name='orders')",
        "from feast.feature_view import FeatureView as View\na = View(name='orders')",
        "import feast\na = feast.FeatureView(name='orders')",
        "import feast as f\na = f.FeatureView(name='orders')",
    ],
)
def test_a_view_is_found_wherever_it_hides(text: str, tmp_path: Path) -> None:
    assert names(text, tmp_path) == [Definition("feature view", "orders")]


def test_a_decorated_function_is_an_on_demand_view_of_its_own_name(tmp_path: Path) -> None:
    text = "from feast.on_demand_feature_view import on_demand_feature_view as odfv\n"
    text += "@odfv(sources=[], schema=[])\ndef age(inputs): ...\n"
    text += "@odfv(sources=[], schema=[], name='other')\ndef age2(inputs): ...\n"
    assert names(text, tmp_path) == [Definition("on-demand view", n) for n in ("age", "other")]


def test_another_class_of_the_same_name_is_no_definition(tmp_path: Path) -> None:
    assert names("from mine import FeatureView\na = FeatureView(name='orders')", tmp_path) == []


def test_a_computed_name_and_broken_python_are_problems_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(VIEW + "for i in range(2):\n    FeatureView(name=f'v{i}')")
    (tmp_path / "b.py").write_text("def :")
    found = find_definitions([tmp_path / "a.py", tmp_path / "b.py"], tmp_path)
    computed, broken = compare_definitions(found, [])
    assert computed.startswith("a.py:3: the feature view's name is computed")
    assert broken.startswith("b.py: is no valid Python")


def test_what_only_the_registry_has_is_a_problem_too() -> None:
    (problem,) = compare_definitions([], [Definition("entity", "ghost")])
    assert problem.startswith("entity 'ghost' is registered, but no file of the repo defines it")
