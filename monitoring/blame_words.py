"""Blame in one paragraph: what moved, what it comes from, where to look, and what to do."""

from collections.abc import Iterator, Sequence

from knownat.contract.model_spec import METRICS
from monitoring.metrics import display_name
from monitoring.summary import Blame, BlamePart, Culprit, Hotspot, Span, Summary
from monitoring.suspects import Suspect

_HOW = {
    "restored": "if its values are held as in the baseline",
    "lost": "if the test is served like that",
    "replayed": "if scored with the values training would have seen",
    "moved": "in the test on rows of such scores",
}


def tell(blame: Blame, summary: Summary, suspects: Sequence[Suspect]) -> str:
    """Write the paragraph."""
    return " ".join(
        [*_moved(blame, summary), *_why(blame, summary, suspects), *_changed(blame), *_act(blame, summary)]
    )


def _moved(blame: Blame, summary: Summary) -> Iterator[str]:
    headline = summary.headline
    if headline is None:
        waits = f"labels are waited for {summary.performance.label_wait_hours} h"
        yield f"{display_name(blame.metric)} is not known yet: {waits}."
        yield from _promised(summary)
        return
    name, now = display_name(blame.metric), headline.window
    if headline.release is None:
        yield f"{name} is {now.value:.3g} ({now.low:.3g} to {now.high:.3g}); the release measured none."
        return
    was, span = headline.release.value, f"({now.low:.3g} to {now.high:.3g})"
    if headline.fell:
        yield f"{name} went from {was:.3g} in the test to {now.value:.3g} {span}."
    elif blame.fall is not None and blame.fall < 0:
        yield f"{name} is {now.value:.3g} {span}, better than the {was:.3g} of the test."
    else:
        yield f"{name} is {now.value:.3g} {span}, {_near(was, headline.usual)}."


def _near(was: float, usual: Span | None) -> str:
    if usual is None:
        return f"about the {was:.3g} of the test"
    return f"and was {was:.3g} in the test, where windows as long came to {usual.low:.3g} to {usual.high:.3g}"


def _promised(summary: Summary) -> Iterator[str]:
    for estimate in summary.performance.estimates[:1]:
        if estimate.range is None:
            continue
        span = f"{estimate.range.low:.3g} to {estimate.range.high:.3g}"
        yield f"Judging by the scores alone it should come to {span}, if the world is as it was."


def _why(blame: Blame, summary: Summary, suspects: Sequence[Suspect]) -> Iterator[str]:
    if blame.culprit is Culprit.PIPELINE:
        yield from _pipeline(blame, suspects)
    elif blame.culprit is Culprit.WORLD:
        yield "It is the world that changed:"
        yield from _world(blame, summary, suspects)
    elif blame.culprit is Culprit.INPUTS:
        yield "The inputs changed, and questions like these are harder:"
        yield from _inputs(blame, summary)
    elif blame.culprit is Culprit.INPUTS_STABLE:
        yield f"Inputs changed, performance stable: {_evidence(suspects)}."
    elif blame.culprit is Culprit.UNKNOWN:
        yield (
            f"Inputs changed: {_evidence(suspects)}."
            if suspects
            else "No fault was found and nothing drifted."
        )
    else:
        yield "Nothing changed: no fault, no drift."


def _pipeline(blame: Blame, suspects: Sequence[Suspect]) -> Iterator[str]:
    broken = [suspect for suspect in suspects if suspect.broken]
    yield f"It is the pipeline: {_evidence(broken)}.".replace("?.", "?")
    guilty = {suspect.name for suspect in broken}
    for part in blame.groups:
        if part.group in guilty and part.range.low > 0:
            yield _share(part, blame)
    if blame.groups and blame.fall is not None and blame.of_world > max(blame.fall / 3, 0):
        yield f"{blame.of_world:.3g} is left that the values do not explain."
        yield from _hotspot(blame.hotspot)


def _world(blame: Blame, summary: Summary, suspects: Sequence[Suspect]) -> Iterator[str]:
    broken = [suspect for suspect in suspects if suspect.broken]
    if broken:
        yield f"{_evidence(broken)} explains {max(blame.of_values, 0):.3g} of the {blame.fall:.3g};"
    else:
        yield "no fault was found in what was served;"
    yield f"rows of such scores came to {_expected(blame, summary):.3g} in the test,"
    yield f"and that the same inputs now have other outcomes costs {blame.of_world:.3g}."
    if not blame.compared:
        yield "Served values were not compared with those training would have seen: `knownat skew` does."
    yield from _hotspot(blame.hotspot)


def _expected(blame: Blame, summary: Summary) -> float:
    headline = summary.headline
    was = headline.release.value if headline is not None and headline.release is not None else 0.0
    return was - blame.of_questions if METRICS[blame.metric][0] == "higher" else was + blame.of_questions


def _inputs(blame: Blame, summary: Summary) -> Iterator[str]:
    yield f"rows of such scores came to {_expected(blame, summary):.3g} in the test itself."
    for part in blame.groups:
        if part.range.low > 0:
            yield f"{_share(part, blame)[:-1]} ({'; '.join(part.evidence[:1])})."


def _share(part: BlamePart, blame: Blame) -> str:
    share = f"{part.loss:.3g} ({part.range.low:.3g} to {part.range.high:.3g}) of the {blame.fall:.3g}"
    return f"{part.group} accounts for {share}: so it is {_HOW[part.how]}."


def _hotspot(hotspot: Hotspot | None) -> Iterator[str]:
    if hotspot is None:
        yield "It is so in all groups of rows alike."
        return
    where = f"{hotspot.column} is {hotspot.bucket}"
    yield (
        f"It is most so where {where}: {hotspot.rows:,} rows cost {hotspot.loss:.3g} each, "
        f"{hotspot.loss_in_test:.3g} in the test."
    )


def _changed(blame: Blame) -> Iterator[str]:
    if blame.changes:
        yield f"Changed upstream: {'; '.join(blame.changes)}."


def _act(blame: Blame, summary: Summary) -> Iterator[str]:
    who = f"{summary.owner}, {summary.runbook}"
    if blame.culprit is Culprit.PIPELINE:
        yield f"Mend what feeds these features; a new model would learn the fault ({who})."
    elif blame.culprit is Culprit.WORLD:
        yield f"Train on labels of the new world, and compare before promoting ({who})."
    elif blame.culprit is Culprit.INPUTS:
        yield f"A model trained on such rows may do better; the pipeline is not at fault ({who})."
    elif blame.culprit is Culprit.UNKNOWN:
        yield "Wait for the labels before acting."
    else:
        yield "Nothing to do."


def _evidence(suspects: Sequence[Suspect]) -> str:
    texts = [text for suspect in suspects for text in suspect.evidence]
    more = "" if len(texts) <= 3 else f" and {len(texts) - 3} more"
    return "; ".join(texts[:3]) + more if texts else "the scores moved"
