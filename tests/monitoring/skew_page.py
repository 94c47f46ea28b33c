"""How well causes of skew are told apart, as a page of the docs: ``python -m tests.monitoring.skew_page``."""

from collections import Counter
from pathlib import Path

from monitoring.causes import Cause
from tests.monitoring.skewed import SHAPES, Confusion, confusion


def page(found: Confusion, *, worlds: int, steps_known: Confusion) -> str:
    """Lay both matrices out as a page of the docs."""
    heading = (Path(__file__).parent / "skew.intro.md").read_text()
    lines = [heading.rstrip(), ""]
    for title, counted in (("from the log alone", found), ("knowing when rows were written", steps_known)):
        wrong = sum(rows for (true, named), rows in counted.items() if true is not None and true != named)
        total = sum(rows for (true, _), rows in counted.items() if true is not None)
        lines += [
            f"## Named {title}",
            "",
            f"{total:,} differences in {worlds} worlds, {1 - wrong / total:.2%} named right.",
            "",
            "| true cause | values | named right | named otherwise |",
            "|---|--:|--:|---|",
        ]
        lines += [_line(cause, counted) for cause in Cause]
        lines.append("")
    return "\n".join(lines)


def _line(cause: Cause, counted: Confusion) -> str:
    named = {other: rows for (true, other), rows in counted.items() if true is cause}
    total = sum(named.values())
    others = ", ".join(
        f"{'no difference' if other is None else other.value} {rows:,}"
        for other, rows in sorted(named.items(), key=lambda pair: -pair[1])
        if other is not cause
    )
    return f"| {cause.value} | {total:,} | {named.get(cause, 0) / max(total, 1):.2%} | {others} |"


def main() -> None:
    """Judge every world, twice, and write the page."""
    seeds = range(25)
    worlds = [(shape, seed) for shape in SHAPES for seed in seeds]
    alone, told = (
        sum((confusion(*world, predictions=4_000, steps_known=known) for world in worlds), Counter())
        for known in (False, True)
    )
    target = Path(__file__).parents[2] / "docs" / "reference" / "skew.md"
    target.write_text(page(alone, worlds=len(worlds), steps_known=told))


if __name__ == "__main__":
    main()
