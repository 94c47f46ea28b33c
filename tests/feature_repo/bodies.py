"""On-demand bodies taken out of their file: no module around them, as the scorer runs them."""

import ast
import builtins
from collections.abc import Callable
from pathlib import Path

Body = Callable[[dict[str, list]], dict[str, list]]


def on_demand_functions(repo: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((repo / "on_demand.py").read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def load_body(repo: Path, name: str) -> Body:
    """Compile one body alone, with Python's builtins as its only globals."""
    function = on_demand_functions(repo)[name]
    function.decorator_list = []
    namespace: dict[str, object] = {"__builtins__": builtins}
    exec(compile(ast.Module([function], []), f"<{name}>", "exec"), namespace)
    body = namespace[name]
    assert callable(body)
    return body


def declared_fields(repo: Path, name: str) -> dict[str, str]:
    """Read the schema that a view's decorator declares: field name to type name."""
    (decorator,) = on_demand_functions(repo)[name].decorator_list
    assert isinstance(decorator, ast.Call)
    schema = next(k.value for k in decorator.keywords if k.arg == "schema")
    assert isinstance(schema, ast.List)
    fields = [{k.arg: ast.unparse(k.value).strip("'") for k in call.keywords} for call in schema.elts]
    return {str(field["name"]): str(field["dtype"]) for field in fields}
