"""What a judged window says, reduced to what a verdict asks of it."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from knownat.contract.verdict import FaultSeen, Vote
from monitoring.skew_report import EXPECTED, SkewReport
from monitoring.summary import Culprit, FaultKind, Level, Summary

_NO_FAULT_OF_DATA = {FaultKind.EMPTY_WINDOW}


_MUCH = 0.01
"""From this share of a window's compared predictions on, differing values are an alarm."""
SKEWED, BLAMED = "skew", "blamed"
_COLUMNS_TOLD = 3


def vote_of(summary: Summary, skew: SkewReport | None = None) -> Vote:
    """Reduce a summary, and the skew found in it; how many features drifted is not carried over."""
    headline = summary.headline
    skewed = () if skew is None else tuple(_of_skew(skew))
    told = tuple(text for _, text in skewed[:_COLUMNS_TOLD])
    own = () if told and summary.verdict.level is Level.OK else summary.verdict.reasons
    level = _worst(summary.verdict.level, [fault for fault, _ in skewed])
    return Vote(
        start=summary.start,
        end=summary.end,
        version=summary.version,
        level=level.value,
        reasons=(*own, *told),
        measured=headline is not None and headline.release is not None,
        fell=headline is not None and headline.surely,
        faults=tuple(
            FaultSeen(kind=fault.kind.value, subject=fault.subject, alarming=fault.level is Level.ALERT)
            for fault in summary.faults
            if fault.kind not in _NO_FAULT_OF_DATA
        )
        + tuple(fault for fault, _ in skewed)
        + tuple(_of_blame(summary)),
    )


def _of_skew(skew: SkewReport) -> Iterator[tuple[FaultSeen, str]]:
    """Tell of columns that differ from training's for a cause that somebody has to mend."""
    for column in skew.columns:
        mend = {cause: count for cause, count in column.causes.items() if cause not in EXPECTED}
        if not mend:
            continue
        cause = max(mend, key=lambda each: mend[each])
        alarming = sum(mend.values()) >= _MUCH * skew.rows
        text = (
            f"{column.column}: {sum(mend.values()):,} of {skew.rows:,} served values are not training's, "
            f"mostly {cause.value.replace('_', ' ')}"
        )
        yield FaultSeen(kind=SKEWED, subject=column.column, alarming=alarming), text


def _of_blame(summary: Summary) -> Iterator[FaultSeen]:
    """Take a fall that comes from the pipeline for broken data, whatever else was found."""
    blame = summary.blame
    if blame is not None and blame.culprit is Culprit.PIPELINE and summary.headline and summary.headline.fell:
        for part in blame.groups:
            if part.how != "moved":
                yield FaultSeen(kind=BLAMED, subject=part.group, alarming=True)


def _worst(level: Level, faults: Sequence[FaultSeen]) -> Level:
    if level is Level.ALERT or any(fault.alarming for fault in faults):
        return Level.ALERT
    return Level.WATCH if faults else level


def comparable(summaries: Sequence[Summary], *, window_hours: int) -> list[Summary]:
    """Pick the windows that are judged together, oldest first: those of one length.

    The declared length, or else that of the newest window: a look at two hours by hand is no day.
    """
    ordered = sorted(summaries, key=lambda summary: (summary.end, summary.start))
    if not ordered:
        return []
    lengths = [summary.end - summary.start for summary in ordered]
    declared = timedelta(hours=window_hours)
    chosen = declared if declared in lengths else lengths[-1]
    return [summary for summary, length in zip(ordered, lengths, strict=True) if length == chosen]
