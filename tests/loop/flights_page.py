"""The table of the flights as a page of the docs, two drawings, and lines on a terminal."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.loop.bars import Bar, draw_bars
from training.drawing import Line, draw_lines

ROWS = {
    "static": "static columns only",
    "logistic": "logistic regression, all features",
    "honest": "**honest LightGBM**",
    "leaky_promised": "leaking LightGBM, judged offline",
    "leaky_served": "**the same leaking model, served what is really known**",
    "own_delay": "the flight's own delay at departure as a feature",
    "random_split": "honest features, random split",
}
SHORT = {
    "static": "static only",
    "logistic": "logistic",
    "honest": "honest",
    "leaky_promised": "leaking, offline",
    "leaky_served": "leaking, served",
    "own_delay": "own delay",
    "random_split": "random split",
}
KNOWN = {
    "static": 0.643,
    "logistic": 0.748,
    "honest": 0.766,
    "leaky_promised": 0.813,
    "leaky_served": 0.727,
    "own_delay": 0.915,
    "random_split": 0.811,
}
"""AUC, as measured once by other code: a script of its own over the raw files, with no feature store."""
LEADS = {"24 HOURS": (24.0, 0.669), "6 HOURS": (6.0, 0.728), "30 MINUTES": (0.5, 0.780)}
"""Hours before departure, and the AUC known by the same script; 2 hours are the honest row's."""
MONTHS = {"2013-10": 0.752, "2013-11": 0.736, "2013-12": 0.752}
TOLERANCE = 0.005
_METRICS = {
    "auc": "AUC",
    "average_precision": "PR-AUC",
    "log_loss": "log loss",
    "brier": "Brier",
    "ece": "ECE",
}
_INTRO = Path(__file__).with_name("flights.intro.md")
_WAYS_TO_LEAK = Path(__file__).with_name("flights.leaks.md")

Found = Mapping[str, Any]


def off_by_more(found: Found) -> list[str]:
    """Name every AUC that is not within the tolerance of what it is known to be."""
    return [
        f"{name}: AUC {value:.4f}, known to be {known:.3f}"
        for name, value, known in _compared(found)
        # What is known has three digits, so three digits are compared.
        if round(abs(round(value, 3) - known), 3) > TOLERANCE
    ]


def _compared(found: Found) -> Iterator[tuple[str, float, float]]:
    for name in _there(KNOWN, found["rows"]):
        yield SHORT[name], found["rows"][name]["auc"]["value"], KNOWN[name]
    for lead in _there(LEADS, found["leads"]):
        yield f"asked {lead.lower()} before", found["leads"][lead]["value"], LEADS[lead][1]
    for month in _there(MONTHS, found["months"]):
        yield month, found["months"][month], MONTHS[month]


def _there(wanted: Iterable[str], measured: Collection[str]) -> list[str]:
    """Leave what was measured already; a run that was stopped has fewer rows."""
    return [name for name in wanted if name in measured]


def print_table(console: Console, found: Found) -> None:
    """Print every AUC beside the one it is known to be."""
    shown = Table("what", "AUC", "known", "difference", title="How well can the flights be told?")
    for name, value, known in _compared(found):
        shown.add_row(name, f"{value:.4f}", f"{known:.3f}", f"{value - known:+.4f}")
    console.print(shown)


def page(found: Found) -> str:
    """Lay everything out as a page of the docs."""
    intro = _INTRO.read_text().format(**{name: found[name] for name in ("columns", "tested", "base_rate")})
    parts = [_leak(found), _models(found), _leads(found), _months(found)]
    return "\n".join([intro.rstrip(), *(line for part in parts for line in ("", *part)), ""])


def _leak(found: Found) -> Iterator[str]:
    if "leaky_served" not in found["rows"]:
        return
    aucs = {
        name: found["rows"][name]["auc"]["value"] for name in ("leaky_promised", "leaky_served", "honest")
    }
    promised, served, honest = aucs.values()
    yield f"**A leak promises {promised:.3f} and gets {served:.3f}.** The leaking model is the repo of"
    yield "[docs/leaky](../leaky/variant.toml): delays filed under the time of their schedule, weather of"
    yield "the hour of departure. Judged offline it beats the honest model"
    yield f"by {promised - honest:.3f}; served what is really known it loses {honest - served:.3f} to it."
    yield "[`knownat leaks`](../how-to/find-leaks.md) finds it before it is trained."


def _models(found: Found) -> Iterator[str]:
    yield f"| model | {' | '.join(_METRICS.values())} | known AUC |"
    yield "|---|" + "--:|" * (len(_METRICS) + 1)
    for name in _there(ROWS, found["rows"]):
        row = found["rows"][name]
        numbers = [f"{row[metric]['value']:.3f}" for metric in _METRICS]
        numbers[0] = f"{row['auc']['value']:.4f} ({row['auc']['low']:.3f} to {row['auc']['high']:.3f})"
        yield f"| {ROWS[name]} | {' | '.join(numbers)} | {KNOWN[name]:.3f} |"
    yield ""
    if "leaky_served" in found["rows"]:
        yield _WAYS_TO_LEAK.read_text()
    yield "![AUC of each model of the table](../flights-table.svg)"


def _leads(found: Found) -> Iterator[str]:
    if len(found["leads"]) < 2:
        return
    yield "## When it is asked"
    yield "The honest model, asked at other times before departure and fitted anew for each."
    yield ""
    yield "| before departure | AUC | known AUC |"
    yield "|---|--:|--:|"
    known = {**LEADS, "2 HOURS": (2.0, KNOWN["honest"])}
    for lead in _there(sorted(known, key=lambda lead: -known[lead][0]), found["leads"]):
        yield f"| {lead.lower()} | {found['leads'][lead]['value']:.4f} | {known[lead][1]:.3f} |"
    yield ""
    yield "![AUC by hours before departure](../flights-lead-time.svg)"


def _months(found: Found) -> Iterator[str]:
    yield "## By month"
    yield "The honest model, by the month of scheduled departure on New York's clock."
    yield ""
    yield "| month | AUC | known AUC |"
    yield "|---|--:|--:|"
    for month, value in sorted(found["months"].items()):
        yield f"| {month} | {value:.4f} | {MONTHS[month]:.3f} |"


def draw_rows(found: Found) -> str:
    """Draw a bar a model, with the interval of its AUC."""
    aucs = {SHORT[name]: found["rows"][name]["auc"] for name in _there(SHORT, found["rows"])}
    bars = [Bar(words, auc["value"], auc["low"], auc["high"]) for words, auc in aucs.items()]
    return draw_bars(
        bars,
        label="AUC of each model on October to December, with its 95 % interval",
        x_range=(0.5, 1.0),
        marked={"honest", "leaking, served"},
    )


def draw_leads(found: Found) -> str:
    """Draw what an hour more of waiting is worth."""
    hours = {"2 HOURS": 2.0, **{lead: hours for lead, (hours, _) in LEADS.items()}}
    points = sorted((hours[lead], auc["value"]) for lead, auc in found["leads"].items())
    return draw_lines(
        [Line("honest LightGBM", points)],
        label="AUC of the honest model by hours before departure",
        x_title="hours before scheduled departure (logarithmic)",
        y_title="AUC",
        log_x=True,
    )
