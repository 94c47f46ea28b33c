"""``python -m tests.monitoring.noise_table`` writes ``docs/reference/chance-and-power.md``."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from monitoring.metrics import display_name
from tests.monitoring.test_estimate import METRICS, PASTS, WORLDS, count_inside
from tests.monitoring.test_noise import count_alarms, count_missed, july, numbers_of

SPLITS = 200
WINDOWS = 300
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "chance-and-power.md"
INTRO = """# How often chance alarms, what goes unseen, and what a range holds

A month of flights as `late_arrival` saw it (July 2013), every feature of the model, judged by the drift rules
as they stand, without a past to learn from (`python -m tests.monitoring.noise_table`).

## Two samples of one month, drawn by chance
Nothing differs but the draw, so every alarm is a false one.
"""


def main() -> None:
    """Ask it of a month of flights, every feature of the model."""
    month = july().combine_chunks()
    parts = [INTRO, *_chance(month), "", *_power(month), "", *_coverage()]
    PAGE.write_text("\n".join(parts) + "\n")


def _chance(month: pa.Table) -> Iterator[str]:
    asked = SPLITS * month.num_columns
    yield f"{SPLITS} splits at each size, {month.num_columns} features."
    yield "\n| rows a side | features judged | alarmed | share |\n|--:|--:|--:|--:|"
    for rows in (100, 1_000, 14_000):
        alarms = count_alarms(month, rows, splits=SPLITS)
        yield f"| {rows:,} | {asked:,} | {alarms} | {alarms / asked:.3%} |"


def _power(month: pa.Table) -> Iterator[str]:
    missed = count_missed(month, splits=SPLITS)
    worst, runs = max(missed, key=lambda name: missed[name]), SPLITS * len(missed)
    yield "## A shift of half a standard deviation\n"
    columns = f"{len(numbers_of(month))} number columns that are not mostly null"
    yield f"{SPLITS} draws of 1,000 rows in each of {columns}:"
    yield f"flagged in {1 - sum(missed.values()) / runs:.2%} of {runs:,}; least often `{worst}`, in"
    yield f"{1 - missed[worst] / SPLITS:.1%}."


def _coverage() -> Iterator[str]:
    yield "## How often the truth is in the range that the scores alone promise\n"
    yield f"{WINDOWS:,} made-up windows of 120 rows each, every one with a past of its own; 95 % is said."
    yield "\n| scores are | past windows | " + " | ".join(display_name(name) for name in METRICS) + " |"
    yield "|---|--:|" + "--:|" * len(METRICS)
    for name, world in WORLDS.items():
        for past_days in PASTS:
            inside = count_inside(world, past_days=past_days, windows=WINDOWS)
            shares = " | ".join(f"{inside[metric] / WINDOWS:.1%}" for metric in METRICS)
            yield f"| {name} | {past_days} | {shares} |"


if __name__ == "__main__":
    main()
