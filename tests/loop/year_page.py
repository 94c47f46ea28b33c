"""``python -m tests.loop.year_page`` writes ``docs/reference/flights-in-production.md``."""

from pathlib import Path

import numpy as np

from tests.loop.flights_year import END, MODEL, START, prepare_year
from tests.loop.year import Told, months, tell, weeks

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "flights-in-production.md"
INTRO = Path(__file__).with_name("year.intro.md")


def main() -> None:
    """Judge July to December by month and by week, and write both tables."""
    workspace = prepare_year()
    by_month = list(tell(workspace, MODEL, months(START, END)))
    by_week = list(tell(workspace, MODEL, weeks(START, END)))
    parts = [
        INTRO.read_text().rstrip(),
        "## By month",
        *_table(by_month, "%B"),
        "## By week",
        *_table(by_week, "%d %b"),
        "## What goes along with a fall",
        *_correlations(by_week),
        "## In words",
        *(
            f"**{told.summary.start:%B}.** {told.summary.blame.text}\n"
            for told in by_month
            if told.summary.blame
        ),
    ]
    PAGE.write_text("\n".join(parts).rstrip() + "\n")


def _words(told: Told) -> str:
    blame = told.summary.blame
    return f"\n**{told.summary.start:%B}.** {'' if blame is None else blame.text}"


def _table(found: list[Told], named: str) -> list[str]:
    first = _cells(found[0], named)
    rows = [f"| {' | '.join(_cells(told, named).values())} |" for told in found]
    return ["", f"| {' | '.join(first)} |", f"|---|{'--:|' * (len(first) - 2)}---|", *rows, ""]


def _cells(told: Told, named: str) -> dict[str, str]:
    s, p = told.summary, told.summary.performance
    estimate = next((e for e in p.estimates if e.metric == "auc"), None)
    span = None if estimate is None else estimate.range
    promised = "none yet" if span is None else f"{span.low:.3f} to {span.high:.3f}"
    return {
        "from": f"{s.start:{named}}",
        "rows": f"{s.rows:,}",
        "late": f"{p.mean_label:.1%}",
        "said": f"{p.mean_score:.1%}",
        "AUC": f"{told.auc:.3f}",
        "range by scores alone": promised,
        "log loss": f"{told.log_loss:.3f}",
        "drifted": f"{len(told.drifted)}",
        "faults": f"{len(s.faults)}",
        "verdict": s.verdict.level.value,
        "it is": "" if s.blame is None else s.blame.culprit.value,
    }


def _correlations(found: list[Told]) -> list[str]:
    """Rank the windows by how much AUC they lost, and by what might have told so."""
    lost = np.array([-told.auc for told in found])
    total = [len(told.summary.features) for told in found]
    signs = {
        "share of features that drifted": [len(t.drifted) / n for t, n in zip(found, total, strict=True)],
        "importance-weighted PSI": [sum(f.weight for f in t.summary.features) for t in found],
        "AUC expected by the scores alone": [_expected(told) for told in found],
    }
    missed = np.array([told.auc - _expected(told) for told in found])
    known = [inside for told in found if (inside := _inside(told)) is not None]
    off = f"{missed.mean():+.3f} on the mean ({np.abs(missed).mean():.3f} regardless of sign)"
    return [
        "",
        "| sign | rank correlation with the fall of AUC |",
        "|---|--:|",
        *(f"| {name} | {_rank_correlation(np.array(values), lost):+.2f} |" for name, values in signs.items()),
        "",
        f"The estimate was off by {off}; the truth was in its range in {sum(known)} of the",
        f"{len(known)} weeks that had one.",
        "",
    ]


def _expected(told: Told) -> float:
    return next(e.value for e in told.summary.performance.estimates if e.metric == "auc")


def _inside(told: Told) -> bool | None:
    """Whether the truth was in the range; None while there was no range yet."""
    estimate = next(e for e in told.summary.performance.estimates if e.metric == "auc")
    return None if estimate.range is None else estimate.range.low <= told.auc <= estimate.range.high


def _rank_correlation(one: np.ndarray, two: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (one, two)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
