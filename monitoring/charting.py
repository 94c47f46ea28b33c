"""Evidently's report of a window, from stand-ins of its columns and of its labelled rows."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from knownat.contract.profile import Profile
from monitoring.files import staged_beside
from monitoring.performance import join_labels
from monitoring.source import Evidence
from monitoring.summary import ColumnDrift, Summary
from monitoring.surrogates import Outcomes, Stand, surrogate


def draw_charts(evidence: Evidence, profile: Profile, summary: Summary, path: Path) -> bool:
    """Write Evidently's report on the columns; tell whether there was anything to draw."""
    measured = [d for d in (summary.score, *summary.features) if d.psi is not None]
    drawn = False
    if measured:
        with _importing_evidently():
            from monitoring.renderer import render_report

        staged = staged_beside(path)
        sides = ((profile, evidence.predictions), (evidence.reference.profile, evidence.baseline))
        samples = [_stand_ins(evidence, side, rows, measured) for side, rows in sides]
        drawn = bool(
            render_report(staged, window=samples[0], baseline=samples[1], measured=measured, when=summary.end)
        )
        if drawn:
            staged.replace(path)
    if not drawn:
        path.unlink(missing_ok=True)
    return drawn


def draw_outcomes(evidence: Evidence, summary: Summary, path: Path, *, now: datetime) -> bool:
    """Write Evidently's report on the labelled rows, beside the release's own test; tell if there is one."""
    labelled = Outcomes.of(join_labels(evidence.predictions, evidence.labels, now=now))
    drawn = False
    if len(labelled.label):
        with _importing_evidently():
            from monitoring.renderer import render_outcomes

        staged, tested = staged_beside(path), Outcomes.of(evidence.holdout)
        drawn = render_outcomes(staged, task=summary.task, window=labelled, baseline=tested, when=summary.end)
        if drawn:
            staged.replace(path)
    if not drawn:
        path.unlink(missing_ok=True)
    return drawn


@contextmanager
def _importing_evidently() -> Iterator[None]:
    # Read by Evidently when it is imported; it must never phone home.
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        # Feast, where it was imported before, shows what Evidently's makers alone can mend.
        warnings.simplefilter("ignore")
        yield


def _stand_ins(
    evidence: Evidence, profile: Profile, rows: pa.Table, measured: Sequence[ColumnDrift]
) -> dict[str, Stand]:
    reference = evidence.reference.profile.columns
    return {
        d.column: surrogate(
            d.column, profile.columns[d.column], rows[d.column], reference=reference[d.column]
        )
        for d in measured
    }
