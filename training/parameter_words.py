"""Parameters as they are written in a model's declaration, and what would change there."""

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from training.folds import Params

_HEADER = re.compile(r"^\s*\[")
_OURS = re.compile(r"^\s*\[lightgbm(\.params)?\]")


def write_params(params: Params) -> str:
    """Write a ``[lightgbm.params]`` section.

    >>> print(write_params({"num_leaves": 31, "extra_trees": True}), end="")
    [lightgbm.params]
    num_leaves = 31
    extra_trees = true
    """
    return "".join(["[lightgbm.params]\n", *(f"{name} = {_value(v)}\n" for name, v in params.items())])


def declare(text: str, params: Params) -> str | None:
    """Put parameters into a declaration's text; the rest stays as it stands, comments too.

    None if that cannot be done without changing anything else.
    """
    lightgbm = tomllib.loads(text).get("lightgbm", {})
    kept = {name: value for name, value in lightgbm.items() if name != "params"}
    section = "".join(["[lightgbm]\n", *(f"{name} = {_value(v)}\n" for name, v in kept.items())]) + "\n"
    section += write_params(params)
    changed = "".join(_with_section(text.splitlines(keepends=True), section))
    try:
        read = tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        return None
    wanted = {**tomllib.loads(text), "lightgbm": {**kept, "params": params}}
    return changed if read == wanted else None


def diff_declaration(file: Path, params: Params) -> str:
    """Say as a patch what would change in a declaration; empty if it cannot be told."""
    before = file.read_text(encoding="utf-8")
    after = declare(before, params) or before
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        fromfile=f"a/models/{file.name}",
        tofile=f"b/models/{file.name}",
    )
    return "".join(lines)


def _with_section(lines: list[str], section: str) -> Iterator[str]:
    """Write the new section where the old one began, or else at the end."""
    ours = written = False
    for line in lines:
        if _HEADER.match(line):
            ours = bool(_OURS.match(line))
            if ours and not written:
                yield section + "\n"
                written = True
        if not ours:
            yield line
    if not written:
        yield "\n" + section


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)
