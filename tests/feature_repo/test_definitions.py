"""The definitions as text: names, bodies and what each promises. Feast itself is not needed to read them."""

import ast
import importlib.util
import math
from pathlib import Path

import pytest

from tests.feature_repo.bodies import declared_fields, load_body, on_demand_functions

BODIES = ["delay_means", "flight_plan", "overdue_age", "tail_state", "weather_state"]


def test_no_definition_file_has_the_name_of_a_module(repo: Path) -> None:
    taken = [file.stem for file in repo.glob("*.py") if importlib.util.find_spec(file.stem) is not None]
    assert taken == []


def test_feast_looks_into_no_folder_of_the_repo(repo: Path) -> None:
    ignored = {line.rstrip("/") for line in (repo / ".feastignore").read_text().splitlines()}
    assert {"data", "models", "pipelines"} <= ignored


def test_every_on_demand_view_is_tried_here(repo: Path) -> None:
    assert sorted(on_demand_functions(repo)) == BODIES


def test_every_view_names_an_owner_a_description_its_tags_and_a_ttl(repo: Path) -> None:
    calls = [
        node
        for file in sorted(repo.glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FeatureView"
    ]
    assert len(calls) == 17
    for call in calls:
        given = {keyword.arg for keyword in call.keywords}
        assert {"owner", "description", "tags", "ttl", "source"} <= given, ast.unparse(call)[:80]


@pytest.mark.parametrize("name", BODIES)
def test_a_body_stands_alone_in_any_folder_and_gives_what_is_declared(
    repo: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = load_body(repo, name)(_inputs(repo, name, 1_381_838_400))
    fields = declared_fields(repo, name)
    types = {
        field: {"int": "Int64", "float": "Float64"}[type(values[0]).__name__]
        for field, values in made.items()
    }
    assert types == fields


@pytest.mark.parametrize("name", BODIES)
def test_a_missing_value_gives_the_same_as_none_and_as_nan(repo: Path, name: str) -> None:
    body = load_body(repo, name)
    asked = _inputs(repo, name, 1_381_838_400)
    request = {"question_epoch_us", "scheduled_departure_epoch_s", "scheduled_arrival_epoch_s"}
    online = body({key: values if key in request else [None] for key, values in asked.items()})
    offline = body({key: values if key in request else [math.nan] for key, values in asked.items()})
    assert _none_for_nan(online) == _none_for_nan(offline)


@pytest.mark.parametrize("name", BODIES)
def test_integers_and_the_floats_that_hold_them_give_the_same_bits(repo: Path, name: str) -> None:
    body = load_body(repo, name)
    asked = _inputs(repo, name, 1_381_838_407)
    assert body(asked) == body({key: [float(value) for value in values] for key, values in asked.items()})


def _inputs(repo: Path, name: str, value: int) -> dict[str, list]:
    """Give every input that a body looks up a value; read from its text, f-strings and all."""
    seen = _Recorder(value)
    load_body(repo, name)(seen)
    return dict(seen)


class _Recorder(dict):
    def __init__(self, value: int) -> None:
        self._value = value

    def __missing__(self, key: str) -> list:
        scale = 1_000_000 if key == "question_epoch_us" else 1
        self[key] = [2013 if key.endswith("_year") else 7 if "count" in key else self._value * scale]
        return self[key]


def _none_for_nan(outputs: dict[str, list]) -> dict[str, list]:
    return {
        name: [None if isinstance(v, float) and math.isnan(v) else v for v in values]
        for name, values in outputs.items()
    }
