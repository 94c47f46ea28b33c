"""Verdicts as numbers for Prometheus: a file that node_exporter's textfile collector reads."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from knownat.contract.verdict import Action, ModelVerdict
from monitoring.summary import Level, Summary

TEXTFILE = "knownat.prom"

Sample = tuple[dict[str, str], float]


@dataclass(frozen=True)
class Told:
    """What is told of one model: its verdict, its newest windows, and whether a message waits."""

    verdict: ModelVerdict
    newest: Summary
    measured: Summary | None
    """The newest window whose performance was measured."""
    untold: bool
    """The webhook could not be told yet."""


def write_samples(models: Iterable[Told]) -> str:
    """Lay out all models in the text format, ordered by name; times are seconds since 1970 UTC."""
    ordered = sorted(models, key=lambda told: told.verdict.model)
    lines: list[str] = []
    for name, text, samples in _families(ordered):
        found = list(samples)
        if found:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [f"{name}{{{_labels(labels)}}} {value!r}" for labels, value in found]
    return "\n".join([*lines, ""])


def _families(models: list[Told]) -> Iterator[tuple[str, str, Iterator[Sample]]]:
    yield "knownat_verdict", "1 for what a model's newest windows ask for.", _verdicts(models)
    yield (
        "knownat_verdict_since_seconds",
        "Since when the verdict is what it is.",
        (({"model": t.verdict.model}, t.verdict.since.timestamp()) for t in models),
    )
    yield (
        "knownat_judged_seconds",
        "When the model was judged last; alert on its age to notice a monitor that stopped.",
        (({"model": t.verdict.model}, t.verdict.judged_at.timestamp()) for t in models),
    )
    yield (
        "knownat_window_end_seconds",
        "End of the newest judged window.",
        (({"model": t.verdict.model}, t.verdict.as_of.timestamp()) for t in models),
    )
    yield (
        "knownat_window_predictions",
        "Predictions in the newest judged window.",
        ((_of(t.newest), float(t.newest.rows)) for t in models),
    )
    yield "knownat_window_faults", "Faults in the newest judged window.", _faults(models)
    yield (
        "knownat_window_drifted_features",
        "Features that drifted in the newest window; it explains and decides nothing.",
        ((_of(t.newest), float(len(t.newest.drifted))) for t in models),
    )
    yield (
        "knownat_label_coverage",
        "Share of matured predictions whose label is known, in the newest measured window.",
        ((_of(t.measured), t.measured.performance.coverage or 0.0) for t in models if t.measured),
    )
    yield "knownat_performance", "The model's metric in the newest measured window.", _performance(models)
    yield (
        "knownat_webhook_waiting",
        "1 while a verdict could not be told to the webhook.",
        (({"model": t.verdict.model}, float(t.untold)) for t in models),
    )


def _verdicts(models: list[Told]) -> Iterator[Sample]:
    for told in models:
        for action in Action:
            labels = {"model": told.verdict.model, "action": action.value, "owner": told.verdict.owner}
            yield labels, float(told.verdict.action is action)


def _faults(models: list[Told]) -> Iterator[Sample]:
    for told in models:
        for level in (Level.WATCH, Level.ALERT):
            count = sum(fault.level is level for fault in told.newest.faults)
            yield {**_of(told.newest), "level": level.value}, float(count)


def _performance(models: list[Told]) -> Iterator[Sample]:
    for told in models:
        headline = told.measured.headline if told.measured is not None else None
        if told.measured is None or headline is None:
            continue
        labels = {**_of(told.measured), "metric": headline.metric}
        ends = {"value": headline.window.value, "low": headline.window.low, "high": headline.window.high}
        if headline.release is not None:
            ends["release"] = headline.release.value
        for which, value in ends.items():
            yield {**labels, "which": which}, value


def _of(summary: Summary) -> dict[str, str]:
    return {"model": summary.model, "version": summary.version}


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
