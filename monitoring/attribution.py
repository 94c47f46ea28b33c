"""How much of a metric's fall each suspect accounts for, by scoring rows as they would have been.

A suspect that is broken is put right in the window: rows are scored with its values as in the
baseline, or as training would have seen them, and the gain is its part; several suspects share a
joint gain by Shapley (1953), so that parts add up. A suspect whose values are gone cannot be put
right: the test's rows are scored without them, and what the test loses is its part. One that merely
moved is no fault: it may make questions harder, and its part is by how much.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import factorial
from typing import Literal

import numpy as np

from knownat.contract.model_spec import METRICS, ModelSpec
from knownat.scoring.metrics import compare_paired, measure, weigh
from monitoring.metrics import Floats
from monitoring.reshaping import Places, reshape
from monitoring.summary import BlamePart, Span
from monitoring.suspects import Suspect

_BINS = 20
_REPLICATES = 100

_TINY = 1e-12

Score = Callable[[Floats], Floats]
Chosen = tuple[Suspect, ...]
How = Literal["restored", "lost", "replayed", "moved"]


@dataclass(frozen=True)
class Rows:
    """Rows of one side: the model's columns in its own order, and the labels that came."""

    matrix: Floats
    labels: Floats


@dataclass(frozen=True)
class Shares:
    """What the parts come to, in the metric's own unit; positive is worse."""

    parts: tuple[BlamePart, ...]
    of_questions: float

    @property
    def of_values(self) -> float:
        """What all broken groups account for together."""
        return sum(part.loss for part in self.parts if part.how != "moved")


@dataclass(frozen=True)
class Case:
    """Everything a fall is shared out by."""

    spec: ModelSpec
    score: Score
    window: Rows
    test: Rows
    baseline: Floats
    names: Places
    """Columns that hold names."""
    truth: Floats | None = None
    """The window's rows as training would have seen them: what wrong values are put right with."""

    def righted(self, chosen: Sequence[Suspect]) -> Floats:
        """Return the window's rows with these suspects put right."""
        matrix = self.window.matrix
        for suspect in chosen:
            if suspect.skewed and self.truth is not None:
                matrix = matrix.copy()
                matrix[:, suspect.columns] = self.truth[:, suspect.columns]
                continue
            rest = np.setdiff1d(suspect.columns, list(suspect.swapped))
            matrix = reshape(matrix, self.baseline, rest, names=self.names, lose=False)
            for place, source in suspect.swapped.items():
                matrix[:, place] = self.window.matrix[:, source]
        return matrix

    def robbed(self, chosen: Sequence[Suspect]) -> Floats:
        """Return the test's rows without what these suspects have lost in the window."""
        matrix = self.test.matrix
        for suspect in chosen:
            matrix = reshape(matrix, self.window.matrix, suspect.columns, names=self.names, lose=True)
        return matrix


def attribute(case: Case, suspects: Sequence[Suspect]) -> Shares:
    """Share a metric's fall out among suspects and the questions themselves."""
    gone = [s for s in suspects if s.lost and not (s.skewed and case.truth is not None)]
    wrong = [s for s in suspects if s.broken and s not in gone]
    scored = {
        chosen: case.score(case.righted(chosen))
        for size in range(len(wrong) + 1)
        for chosen in itertools.combinations(wrong, size)
    }
    in_test = case.score(case.test.matrix)
    parts = [_righted_part(case, scored, wrong, suspect) for suspect in wrong]
    for suspect in gone:
        robbed = case.score(case.robbed([suspect]))
        parts.append(_part(suspect, "lost", _worse(case.spec, case.test.labels, robbed, in_test)))
    asked = Asked(case.spec, case.test.labels, case.score(case.robbed(gone)) if gone else in_test)
    now = scored[tuple(wrong)]
    for suspect in suspects:
        if not suspect.broken:
            without = case.score(case.righted([*wrong, suspect]))
            parts.append(_part(suspect, "moved", asked.harder_by(now, without)))
    return Shares(tuple(parts), asked.harder_by(now)[0])


def fall_of(spec: ModelSpec, value: float, was: float) -> float:
    """Return by how much a value is worse, in the metric's own unit."""
    return was - value if METRICS[spec.metric][0] == "higher" else value - was


def _worse(spec: ModelSpec, labels: Floats, scores: Floats, better: Floats) -> tuple[float, float, float]:
    """By how much the first scores are worse, with a paired interval."""
    first, second = (weigh(spec.metric, labels, s, quantile=spec.quantile) for s in (scores, better))
    sides = (second, first) if METRICS[spec.metric][0] == "higher" else (first, second)
    return compare_paired(*sides, blocks=np.arange(len(labels)), replicates=_REPLICATES)


def _righted_part(
    case: Case, scored: Mapping[Chosen, Floats], wrong: Sequence[Suspect], suspect: Suspect
) -> BlamePart:
    how: How = "replayed" if suspect.skewed and case.truth is not None else "restored"
    alone = _worse(case.spec, case.window.labels, scored[()], scored[suspect,])
    part = _part(suspect, how, alone)
    shift = _shapley(case, scored, wrong, suspect) - part.loss
    # As sure as when it is put right alone.
    span = Span(low=part.range.low + shift, high=part.range.high + shift)
    return part.model_copy(update={"loss": part.loss + shift, "range": span})


def _part(suspect: Suspect, how: How, loss: tuple[float, float, float]) -> BlamePart:
    value, low, high = loss
    return BlamePart(
        group=suspect.name, loss=value, range=Span(low=low, high=high), how=how, evidence=suspect.evidence
    )


def _shapley(case: Case, scored: Mapping[Chosen, Floats], players: Sequence[Suspect], one: Suspect) -> float:
    """Return one suspect's share of the gain that putting all of them right brings."""
    spec, labels = case.spec, case.window.labels
    total, others = 0.0, [player for player in players if player is not one]
    for size in range(len(others) + 1):
        weight = factorial(size) * factorial(len(others) - size) / factorial(len(players))
        for chosen in itertools.combinations(others, size):
            both = tuple(player for player in players if player in chosen or player is one)
            without, with_it = (
                measure(spec.metric, labels, scored[key], quantile=spec.quantile) for key in (chosen, both)
            )
            total += weight * fall_of(spec, without, with_it)
    return total


@dataclass(frozen=True)
class Asked:
    """The test's rows, to be weighed until they have another window's scores."""

    spec: ModelSpec
    labels: Floats
    scores: Floats

    def harder_by(self, scores: Floats, than: Floats | None = None) -> tuple[float, float, float]:
        """Return what the test loses on rows of such scores, beside its own or others', with an interval."""
        weighted = weigh(self.spec.metric, self.labels, self.scores, quantile=self.spec.quantile)
        now = self._weights(scores)
        before = np.ones(len(self.labels)) if than is None else self._weights(than)
        sides = [lambda drawn, own=own: weighted(drawn * own) for own in (before, now)]
        first, second = sides if METRICS[self.spec.metric][0] == "higher" else sides[::-1]
        return compare_paired(first, second, blocks=np.arange(len(self.labels)), replicates=_REPLICATES)

    def _weights(self, scores: Floats) -> Floats:
        said, now = (_spoken(side) for side in (self.scores, scores))
        edges = np.unique(np.quantile(said, np.arange(1, _BINS) / _BINS))
        before, after = (np.searchsorted(edges, side, side="right") for side in (said, now))
        have, want = (np.bincount(side, minlength=len(edges) + 1) / len(side) for side in (before, after))
        return np.asarray((want / np.maximum(have, _TINY))[before])


def _spoken(scores: Floats) -> Floats:
    return scores if scores.ndim == 1 else np.asarray(scores.max(axis=1))
