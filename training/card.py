"""The model card: one page that opens without a network and says what a model can and cannot do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from knownat.contract.model_spec import ModelSpec
from training.calibration import Group
from training.certificate import Certificate
from training.evaluation import Evaluation
from training.selection import Selection

TEMPLATES = Path(__file__).parent / "templates"
_MOST_IMPORTANT = 20
_SIZE = 320.0


@dataclass(frozen=True)
class Plot:
    """A calibration plot in the units of its drawing: points, and the range both axes span."""

    low: float
    high: float
    size: float
    points: Sequence[tuple[float, float]]


def render_card(
    manifest: Mapping[str, object],
    evaluation: Evaluation,
    certificate: Certificate,
    *,
    importance: Mapping[str, float],
    selection: Selection,
) -> str:
    """Render the card of a release that is about to be published."""
    spec = manifest["spec"]
    if not isinstance(spec, ModelSpec):
        raise TypeError("the manifest's spec is a model's declaration")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    total = sum(importance.values()) or 1.0
    ranked = sorted(importance.items(), key=lambda item: (-item[1], item[0]))
    return environment.get_template("card.html").render(
        release=manifest,
        spec=spec,
        answer=_answer(spec),
        selection=selection,
        baseline_heads=[f"#{name}" for name in evaluation.baselines],
        evaluation=evaluation,
        certificate=certificate,
        importance=[(name, gain / total) for name, gain in ranked[:_MOST_IMPORTANT]],
        plot=plot_calibration(evaluation.calibration),
    )


def _answer(spec: ModelSpec) -> str:
    if spec.quantile is not None:
        return f"the value that {100 * spec.quantile:g} of 100 answers stay below"
    answers: dict[str, str] = {
        "binary": "the chance of a yes, from 0 to 1",
        "multiclass": "the likeliest class, and the share of each",
        "regression": "a number",
    }
    return answers[spec.task]


def plot_calibration(groups: Sequence[Group]) -> Plot | None:
    """Place calibration groups in a square whose two axes have the same range; None without groups."""
    if not groups:
        return None
    values = [value for group in groups for value in (group.predicted, group.observed)]
    low, high = min(0.0, *values), max(values)
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return round((value - low) / span * _SIZE, 1)

    points = [(place(group.predicted), _SIZE - place(group.observed)) for group in groups]
    return Plot(low, high, _SIZE, points)
