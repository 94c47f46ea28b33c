"""What a feature repo's files define, read without running them.

Feast registers what it happens to import: a file whose name is taken by another module
(``profile.py``), or a view held in a list, is left out, and ``feast apply`` still succeeds. The
syntax tree says what should be there.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_KINDS = {
    "Entity": "entity",
    "FeatureView": "feature view",
    "BatchFeatureView": "feature view",
    "StreamFeatureView": "feature view",
    "OnDemandFeatureView": "on-demand view",
    "on_demand_feature_view": "on-demand view",
    "FeatureService": "feature service",
}


@dataclass(frozen=True, order=True)
class Definition:
    """One object of the repo: what it is and what it is called."""

    kind: str
    name: str


@dataclass(frozen=True)
class Found:
    """A definition as it stands in a file, or why it cannot be read there."""

    place: str
    definition: Definition | None
    problem: str = ""


def find_definitions(files: Sequence[Path], root: Path) -> list[Found]:
    """Find every Feast object that the files define, with its file and line."""
    return [found for file in files for found in _in_file(file, str(file.relative_to(root)))]


def compare_definitions(found: Sequence[Found], registered: Iterable[Definition]) -> list[str]:
    """Say what the files define and Feast does not see, and the other way round."""
    seen = set(registered)
    problems = [f"{item.place}: {item.problem}" for item in found if item.problem]
    problems += [
        f"{item.place}: {item.definition.kind} '{item.definition.name}' is defined but Feast does not see "
        "it. Bind it to a name of its own at the top level of the file, not in a list or a function, and "
        "give the file a name that no other Python module has."
        for item in found
        if item.definition and item.definition not in seen
    ]
    defined = {item.definition for item in found}
    problems += [
        f"{extra.kind} '{extra.name}' is registered, but no file of the repo defines it. "
        "Write its definition out in the repo."
        for extra in sorted(seen - defined)
    ]
    return problems


def _in_file(file: Path, place: str) -> Iterator[Found]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    except (SyntaxError, UnicodeDecodeError) as error:
        yield Found(place, None, f"is no valid Python: {error}")
        return
    names = _feast_names(tree)
    decorators = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and _kind(decorator, names):
                    decorators.add(decorator)
                    yield _named(decorator, f"{place}:{node.lineno}", names, default=node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node not in decorators and _kind(node, names):
            yield _named(node, f"{place}:{node.lineno}", names)


def _feast_names(tree: ast.Module) -> dict[str, str]:
    """Map the names a file has for Feast's classes to the kinds they define."""
    names = {f"feast.{name}": kind for name, kind in _KINDS.items()}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "feast":
            names |= {a.asname or a.name: _KINDS[a.name] for a in node.names if a.name in _KINDS}
        if isinstance(node, ast.Import):
            modules = [a.asname for a in node.names if a.name == "feast" and a.asname]
            names |= {f"{module}.{name}": kind for module in modules for name, kind in _KINDS.items()}
    return names


def _kind(call: ast.Call, names: dict[str, str]) -> str | None:
    return names.get(ast.unparse(call.func))


def _named(call: ast.Call, place: str, names: dict[str, str], default: str | None = None) -> Found:
    kind = _kind(call, names) or ""
    given = next((k.value for k in call.keywords if k.arg == "name"), call.args[0] if call.args else None)
    if given is None and default is not None:
        return Found(place, Definition(kind, default))
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return Found(place, Definition(kind, given.value))
    return Found(place, None, f"the {kind}'s name is computed; write it out, so that it can be found")
