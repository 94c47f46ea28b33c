"""Make a prediction again from what was fed, and name every difference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from knownat.contract.cases import Case
from knownat.contract.feedback import Bundle, Value, as_logged
from knownat.contract.read_plan import PlanFeature
from knownat.contract.release import Release
from knownat.errors import KnownatError, SchemaMismatch
from knownat.scoring.scorer import TOLERANCE, Scorer, same_values


@dataclass(frozen=True)
class Difference:
    """One value that came out otherwise than it was logged."""

    name: str
    logged: object
    replayed: object


@dataclass(frozen=True)
class Replayed:
    """The score that a release gives now, and what differs from the log."""

    score: float
    differences: tuple[Difference, ...]


def replay(release: Release, bundle: Bundle) -> Replayed:
    """Score a bundle's row with a verified release, alone and in batch, on-demand views included.

    Scores are the same if they differ by at most 1e-12, on-demand outputs if they are equal, None to NaN.

    Raises
    ------
    SchemaMismatch
        If the bundle lacks what the release reads.
    KnownatError
        If the release cannot be loaded or cannot score the row.
    """
    scorer = Scorer.load(release)
    alone, together, made = _score(scorer, bundle.inputs, bundle.features)
    differences = [
        Difference(f"score ({way})", bundle.score, score)
        for way, score in (("one by one", alone), ("in batch", together))
        if not abs(score - bundle.score) <= TOLERANCE
    ]
    for transform in scorer.plan.transforms:
        for output in transform.outputs:
            name = transform.column(output.name)
            logged = as_logged(bundle.features.get(name), output.dtype)
            if not same_values([made[name]], [logged]):
                differences.append(Difference(name, logged, made[name]))
    return Replayed(alone, tuple(differences))


@dataclass(frozen=True)
class Checked:
    """What a release says of a case: its score, or why there is none."""

    case: Case
    score: float | None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether there is a score, and the case allows it."""
        return self.score is not None and self.case.allows(self.score)


def check_cases(release: Release, cases: Sequence[Case]) -> list[Checked]:
    """Ask a verified release about each case.

    Raises
    ------
    ReleaseError
        If it cannot be loaded.
    """
    scorer = Scorer.load(release)
    return [_check(scorer, case) for case in cases]


def _check(scorer: Scorer, case: Case) -> Checked:
    try:
        score, _, _ = _score(scorer, case.inputs, case.features)
    except KnownatError as error:
        return Checked(case, None, str(error))
    return Checked(case, score)


def _score(
    scorer: Scorer, inputs: Mapping[str, Value], features: Mapping[str, Value]
) -> tuple[float, float, dict[str, object]]:
    plan = scorer.plan
    stored = {view.column(f.name): f for view in plan.views for f in view.features}
    asked = {i.name: i for i in plan.request_inputs}
    lacking = [f"input {name}" for name in asked.keys() - inputs.keys()]
    lacking += [name for name in stored if name not in features]
    if lacking:
        raise SchemaMismatch(
            f"It lacks {sorted(lacking)}, which version {scorer.release.manifest.version} reads."
        )
    given, sent = _values(features, stored), _values(inputs, asked)
    scored = scorer.score_one([*given.values()], [*sent.values()])
    together = scorer.score(scorer.columns(_columns(given), _columns(sent)))
    names = [t.column(output.name) for t in plan.transforms for output in t.outputs]
    # Of a multiclass model, the share of the likeliest class.
    return max(scored.scores), float(np.max(together[0])), dict(zip(names, scored.made, strict=True))


def _values(found: Mapping[str, Value], wanted: Mapping[str, PlanFeature]) -> dict[str, object]:
    return {name: as_logged(found[name], feature.dtype) for name, feature in wanted.items()}


def _columns(values: Mapping[str, object]) -> dict[str, list[object]]:
    return {name: [value] for name, value in values.items()}
