"""A tutorial's page as a script: its files, its commands, and the output it promises."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# (\S+)\n")


@dataclass(frozen=True)
class Step:
    """A command of the page, and the lines that its output must hold, in order."""

    command: list[str]
    promised: list[str]


@dataclass(frozen=True)
class File:
    """A file that the page shows under its name."""

    name: str
    content: str


def steps(page: Path) -> Iterator[Step | File]:
    """Read the page from top to bottom."""
    for kind, body in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, *promised = part.rstrip("\n").split("\n")
                yield Step(shlex.split(command), promised)
        elif named := _NAMED.match(body):
            yield File(named.group(1), body[named.end() :])


def plain(line: str) -> str:
    """Leave out how wide a table was drawn."""
    return re.sub(r"\s+", " ", line).strip()


def missing(step: Step, output: str) -> list[str]:
    """Name the promised lines that the output does not hold, in their order."""
    lines = iter([plain(line) for line in output.splitlines()])
    return [line for line in step.promised if plain(line) not in lines]
