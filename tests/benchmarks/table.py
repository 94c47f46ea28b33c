"""What the benchmarks measured: one list on disk, one page: ``python -m tests.benchmarks.table``.

``docs/benchmarks.json`` is the list, ``docs/benchmarks.md`` the page made of it. A row says what was
done (``work``), on how much (``size``), by whom (``who``), and what it cost: CPU seconds of user and
system time, the peak of resident memory in MB (and, where it is known, how much of that was there
before the work: ``start_mb``), and how many times the peer named in the docs spent as much CPU
(``ratio``; 1.0 for that peer).
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import NotRequired, TypedDict

from rich.console import Console
from rich.table import Table

DOCS = Path(__file__).parents[2] / "docs"
INTRO = Path(__file__).with_name("intro.md")
HEADS = ("work", "size", "who", "CPU s", "peak MB", "before MB", "ratio")


class Line(TypedDict):
    """What one contender needed for one piece of work."""

    work: str
    size: str
    who: str
    cpu_seconds: float
    peak_mb: float | None
    start_mb: NotRequired[float | None]
    ratio: float | None


def record(lines: Sequence[Line], *, docs: Path = DOCS) -> None:
    """Show lines, and put them in place of those of the same work, size and contender."""
    show(lines)
    with _held(docs / ".benchmarks.lock"):
        path = docs / "benchmarks.json"
        known: list[Line] = json.loads(path.read_text()) if path.exists() else []
        merged = {_name(line): line for line in [*known, *map(_rounded, lines)]}
        staged = path.with_name(".benchmarks.staged")
        staged.write_text(json.dumps(list(merged.values()), indent=1) + "\n")
        staged.replace(path)


def show(lines: Sequence[Line]) -> None:
    """Print lines as a table."""
    table = Table(*HEADS)
    for line in lines:
        table.add_row(*_cells(_rounded(line)))
    Console(width=140).print(table)


def render(*, docs: Path = DOCS) -> None:
    """Write the page."""
    lines: list[Line] = json.loads((docs / "benchmarks.json").read_text())
    (docs / "benchmarks.md").write_text(page(lines, intro=INTRO.read_text()))


def page(lines: Sequence[Line], *, intro: str) -> str:
    """Lay lines out as Markdown, a section for each work and a table row for each contender."""
    parts = [intro.rstrip() + "\n"]
    for work, of_work in groupby(sorted(lines, key=lambda line: line["work"]), key=lambda line: line["work"]):
        parts += [
            f"\n## {work[:1].upper()}{work[1:]}\n",
            f"| {' | '.join(HEADS[1:])} |",
            "|---|---|--:|--:|--:|--:|",
        ]
        parts += [f"| {' | '.join(_cells(line)[1:])} |" for line in of_work]
    return "\n".join(parts) + "\n"


def _name(line: Line) -> tuple[str, str, str]:
    return line["work"], line["size"], line["who"]


def _rounded(line: Line) -> Line:
    start_mb = line.get("start_mb")
    rounded: Line = {
        **line,
        "cpu_seconds": _digits(line["cpu_seconds"], 3),
        "peak_mb": None if line["peak_mb"] is None else float(round(line["peak_mb"])),
        "ratio": None if line["ratio"] is None else _digits(line["ratio"], 3),
    }
    return rounded if start_mb is None else {**rounded, "start_mb": float(round(start_mb))}


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _cells(line: Line) -> list[str]:
    numbers = (line["cpu_seconds"], line["peak_mb"], line.get("start_mb"), line["ratio"])
    return [*_name(line), *("" if number is None else f"{number:,.10g}" for number in numbers)]


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    render()
