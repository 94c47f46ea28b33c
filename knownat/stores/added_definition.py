"""The definition file of an added source: written once, read like one that a person wrote."""

import ast
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from knownat.clock import span
from knownat.errors import ConfigError
from knownat.stores.added_source import CREATED, EVENT, KeyType, Proposed

FOLDER = "added"
PRIVATE, SHARED = "private", "shared"
SHARING = "sharing"
"""The tag that says whether others may build on a view."""

_DTYPES = {pl.Int64(): "Int64", pl.Float64(): "Float64", pl.Boolean(): "Bool", pl.String(): "String"}
_VALUE_TYPES = {"INT64": "int64", "INT32": "int64", "STRING": "string"}
_KEY_VALUES = {"int64": "INT64", "string": "STRING"}


@dataclass(frozen=True)
class KnownEntity:
    """An entity that a file of the repo binds to a name: what to import, and its one join key."""

    module: str
    variable: str
    key: str
    type: KeyType


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a person says of a source; the rest of its definition follows from its rows."""

    view: str
    owner: str
    description: str = ""
    descriptions: Mapping[str, str]
    """Of features, by name."""
    ttl: str = ""
    """How long a value stays true, as ``30d``; ``forever`` if that is meant; empty if it was not said."""
    file: str
    sha256: str
    command: Sequence[str] = ()


def find_entities(repo: Path) -> dict[str, KnownEntity]:
    """Find the entities that the repo's files bind to a name, by their join key; nothing is run."""
    found: dict[str, KnownEntity] = {}
    for file in definition_files(repo):
        module = ".".join(file.relative_to(repo).with_suffix("").parts)
        for entity in _entities_of(file, module):
            # Two entities with one key are one too many to choose from.
            found[entity.key] = found.get(entity.key, entity)
    return found


def definition_files(repo: Path) -> list[Path]:
    """List the repo's Python files that Feast reads, without asking it."""
    ignore = repo / ".feastignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    left_out = [repo / line.strip().strip("/") for line in lines if line.strip() and line[0] != "#"]
    return [
        file
        for file in sorted(repo.glob("**/*.py"))
        if not any(part.startswith(".") or part == "__pycache__" for part in file.relative_to(repo).parts)
        and not any(file.is_relative_to(folder) for folder in left_out)
    ]


def write_definition(proposed: Proposed, words: Words, entities: Mapping[str, KnownEntity]) -> str:
    """Write the Python file that defines a source, a private view of it and the entities that are new."""
    known = [entities[key] for key in proposed.keys if key in entities]
    new = {key: kind for key, kind in proposed.keys.items() if key not in entities}
    dtypes = sorted({_dtype(proposed, name) for name in proposed.columns})
    parts = [_docstring(words), _imports(known, dtypes, new_entities=bool(new))]
    parts += [_entity(key, kind, words) for key, kind in new.items()]
    names = [entities[key].variable if key in entities else key for key in proposed.keys]
    parts += [_source(proposed, words), _view(proposed, words, names)]
    text = "\n".join(parts)
    ast.parse(text)
    return text


def mark_shared(file: Path, text: str) -> str:
    """Return the text of a definition with its one private view shared.

    Raises
    ------
    ConfigError
        If the file has no view, or more than one, that is marked private.
    """
    places = [value for value in _sharing_tags(text) if value.value == PRIVATE]
    if len(places) != 1:
        raise ConfigError(
            file, [f'has {len(places)} views with the tag "{SHARING}": "{PRIVATE}"; one is needed']
        )
    lines = text.splitlines(keepends=True)
    at = places[0].lineno - 1
    # Columns of the syntax tree count bytes.
    line = lines[at].encode()
    start, end = places[0].col_offset, places[0].end_col_offset or 0
    lines[at] = (line[:start] + f'"{SHARED}"'.encode() + line[end:]).decode()
    return "".join(lines)


def sharing_of(text: str) -> str | None:
    """Tell what a definition's file says of sharing; None if it says nothing, or several things."""
    said = {str(value.value) for value in _sharing_tags(text)}
    return said.pop() if len(said) == 1 else None


def _sharing_tags(text: str) -> list[ast.Constant]:
    return [
        value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == SHARING and isinstance(value, ast.Constant)
    ]


def _entities_of(file: Path, module: str) -> list[KnownEntity]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []  # `knownat apply` says so
    found = []
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if not (
            isinstance(node, ast.Assign) and isinstance(target, ast.Name) and isinstance(node.value, ast.Call)
        ):
            continue
        if ast.unparse(node.value.func).split(".")[-1] == "Entity":
            key, kind = _key_of(node.value)
            if key and kind:
                found.append(KnownEntity(module, target.id, key, kind))
    return found


def _key_of(call: ast.Call) -> tuple[str | None, KeyType | None]:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    try:
        name = ast.literal_eval(given["name"])
        keys = ast.literal_eval(given["join_keys"]) if "join_keys" in given else [name]
    except (KeyError, ValueError):
        return None, None
    kind = ast.unparse(given["value_type"]).split(".")[-1] if "value_type" in given else "STRING"
    declared = _VALUE_TYPES.get(kind)
    if len(keys) != 1 or declared is None:
        return None, None
    return keys[0], "int64" if declared == "int64" else "string"


def _docstring(words: Words) -> str:
    made = f"\n\nMade by: {shlex.join(words.command)}" if words.command else ""
    text = f"Values of {words.file}, added by {words.owner}.{made}\n".replace("\\", "\\\\").replace(
        '"""', "'''"
    )
    return f'"""{text}"""\n'


def _imports(known: Sequence[KnownEntity], dtypes: Sequence[str], *, new_entities: bool) -> str:
    lines: dict[str, list[str]] = {}
    for entity in known:
        lines.setdefault(entity.module, []).append(entity.variable)
    names = ["FeatureView", "Field", "FileSource", *(["Entity", "ValueType"] if new_entities else [])]
    lines["feast"], lines["feast.types"] = sorted(names), list(dtypes)
    imports = [
        f"from {module} import {', '.join(sorted(set(found)))}" for module, found in sorted(lines.items())
    ]
    return "\n".join(["from datetime import timedelta", "", *imports, ""])


def _entity(key: str, kind: KeyType, words: Words) -> str:
    lines = [f"{key} = Entity(", f"    name={_text(key)},", f"    join_keys=[{_text(key)}],"]
    lines += [f"    value_type=ValueType.{_KEY_VALUES[kind]},", f"    owner={_text(words.owner)},", ")", ""]
    return "\n".join(lines)


def _source(proposed: Proposed, words: Words) -> str:
    if proposed.known_at:
        known = f"Known as column '{proposed.known_at}' says."
    elif proposed.known_after:
        known = f"Taken as known {span(proposed.known_after)} after the time in '{proposed.event_time}'."
    else:
        known = "No column says when a row became known: each is taken as known when it happened."
    origin = f"Rows of {words.file}, sha256 {words.sha256[:16]}. "
    created = f"    created_timestamp_column={_text(CREATED)},\n" if proposed.has_created else ""
    return (
        f"{words.view}_table = FileSource(\n    name={_text(words.view)},\n"
        f"    path={_text(f'data/{words.view}.parquet')},\n    timestamp_field={_text(EVENT)},\n{created}"
        f"    description={_text(origin)}\n    {_text(known)},\n    owner={_text(words.owner)},\n)\n"
    )


def _view(proposed: Proposed, words: Words, entities: Sequence[str]) -> str:
    lines = [f"{words.view} = FeatureView(", f"    name={_text(words.view)},"]
    lines += [f"    entities=[{', '.join(entities)}],"]
    if not words.ttl:
        lines += ["    # How long a value stays true was not said, so it does until the next one."]
    lines += [f"    ttl={_ttl(words.ttl)},", "    schema=["]
    for name, column in proposed.columns.items():
        described = words.descriptions.get(name, "")
        more = f", description={_text(described)}" if described else ""
        more += f', tags={{"column": {_text(column)}}}' if column != name else ""
        lines += [f"        Field(name={_text(name)}, dtype={_dtype(proposed, name)}{more}),"]
    tags = {
        SHARING: PRIVATE,
        "added_from": words.file,
        **({"ttl": "forever"} if words.ttl == "forever" else {}),
    }
    lines += ["    ],", f"    source={words.view}_table,", f"    description={_text(words.description)},"]
    lines += [f"    owner={_text(words.owner)},", "    tags={"]
    lines += [f"        {_text(key)}: {_text(value)}," for key, value in tags.items()]
    return "\n".join([*lines, "    },", ")", ""])


def _dtype(proposed: Proposed, name: str) -> str:
    return _DTYPES[proposed.rows.schema[name]]


def _ttl(ttl: str) -> str:
    if ttl in ("", "forever"):
        return "timedelta(0)"
    units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    return f"timedelta({units[ttl[-1]]}={ttl[:-1]})"


def _text(value: str) -> str:
    """Write a string as code, in double quotes as the rest of the repo has them."""
    plain = repr(value)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in plain else plain
