"""Leaks, found and priced: what a model promised, what serving would have got, what honesty reaches."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from knownat.contract.model_spec import read_spec
from knownat.contract.release import Interval
from knownat.contract.workspace import Workspace
from training.certificate import Certificate
from training.dataset import Vector
from training.evaluation import measure_all
from training.fit import fit
from training.pipeline import Prepared, Progress, prepare, search_for_leaks
from training.variant import Variant, build_variant, lay_out_variant

Metrics = Mapping[str, Interval]


@dataclass(frozen=True)
class Price:
    """One leaking model in three lights, on the same questions.

    ``promised`` is measured offline on the leaking features, ``served`` is the same model given what
    was really known, ``honest`` is a model that was made of what was really known.
    """

    promised: Metrics
    served: Metrics
    honest: Metrics

    def as_json(self) -> dict[str, dict[str, dict[str, float]]]:
        """Lay the price out by light and metric."""
        lights = {"promised": self.promised, "served": self.served, "honest": self.honest}
        return {
            light: {metric: interval.model_dump() for metric, interval in metrics.items()}
            for light, metrics in lights.items()
        }


def find_leaks(workspace: Workspace, model: str, *, progress: Progress) -> Certificate:
    """Search a model's features for leaks, without training it.

    Raises
    ------
    ConfigError, RepoError, RowsNotConserved
        If the declaration cannot be used, or the features cannot be joined or contradict their times.
    """
    return _search(workspace, model, progress).certificate


def price_leaks(
    workspace: Workspace, variant: Variant, model: str, *, work: Path, progress: Progress
) -> tuple[Certificate, Price]:
    """Search a variant of a repo for leaks, and price them against the repo itself.

    The variant is built below ``work``. Both must ask the same questions and promise the same columns.

    Raises
    ------
    ConfigError, RepoError, RowsNotConserved
        If a declaration cannot be used, or features cannot be joined or contradict their times.
    """
    leaky_workspace = lay_out_variant(workspace, variant, work)
    progress(f"build the variant '{variant.name}'", 0, 0)
    build_variant(leaky_workspace)
    leaky = _search(leaky_workspace, model, progress)
    honest = prepare(workspace, leaky.spec, progress)
    leaky_model = fit(leaky.data, leaky.spec, report=progress)
    honest_model = fit(honest.data, honest.spec, report=progress)
    return leaky.certificate, Price(
        promised=_measure(leaky, leaky_model.predict(leaky.data.matrix)),
        # The leaking model's own columns, filled with what was really known.
        served=_measure(leaky, leaky_model.predict(leaky.data.schema.matrix(honest.joined.frame))),
        honest=_measure(honest, honest_model.predict(honest.data.matrix)),
    )


def _search(workspace: Workspace, model: str, progress: Progress) -> Prepared:
    spec = read_spec(workspace.model_file(model))
    return search_for_leaks(workspace, prepare(workspace, spec, progress), progress)


def _measure(prepared: Prepared, scores: Vector) -> Metrics:
    test = prepared.data.fold.test
    return measure_all(
        prepared.spec,
        prepared.joined.frame.take(test),
        labels=prepared.data.labels[test],
        scores=scores[test],
    )
