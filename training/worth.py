"""What each group of features earns: by how much the model is worse without it, beside what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from knownat.contract.model_spec import read_spec
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from knownat.scoring.metrics import measure
from training.dataset import Dataset, Vector
from training.fit import parameters
from training.folds import FoldData, TimeFold, folds_before_cutoff
from training.leads import Lead, lead_over
from training.pipeline import Prepared, Progress, prepare
from training.split import days
from training.upkeep import Upkeep, measure_upkeep

By = Literal["view", "column"]


@dataclass(frozen=True)
class Worth:
    """One group: what the metric loses without it, with its 95 % interval, and what it costs."""

    name: str
    columns: tuple[str, ...]
    gain: Lead
    upkeep: Upkeep

    @property
    def earns(self) -> bool:
        """Whether the gain can be told from nothing."""
        return self.gain.low > 0


@dataclass(frozen=True)
class Worths:
    """Every group of a model, the most valuable first."""

    model: str
    metric: str
    value: float
    """With all features, on the folds."""
    questions: int
    groups: tuple[Worth, ...]

    @property
    def earning_nothing(self) -> tuple[Worth, ...]:
        """The groups without a gain that can be told from nothing, the dearest first."""
        idle = [group for group in self.groups if not group.earns]
        return tuple(sorted(idle, key=lambda g: (-g.upkeep.us_a_row, -g.upkeep.bytes_a_row, g.name)))

    def as_json(self) -> dict[str, object]:
        """Lay it out for ``--json``."""
        return {
            **{name: value for name, value in vars(self).items() if name != "groups"},
            "groups": [{**asdict(group), "earns": group.earns} for group in self.groups],
        }


def measure_worth(
    workspace: Workspace, model: str, *, by: By = "view", folds: int = 1, progress: Progress
) -> Worths:
    """Fit a model with all features and once without each group, and compare on the same questions.

    All on folds before the cutoff, so that what is dropped for it is judged by days that had no say.
    Groups that tell the same have no gain each: drop one, then measure again.

    Raises
    ------
    ConfigError, RepoError, RowsNotConserved
        If the declaration cannot be used, the features cannot be joined, there is no room for the folds,
        or there is one group only.
    """
    prepared = prepare(workspace, read_spec(workspace.model_file(model)), progress)
    return weigh_groups(prepared, by=by, folds=folds, progress=progress)


def weigh_groups(prepared: Prepared, *, by: By, folds: int, progress: Progress) -> Worths:
    """Weigh the columns of questions that were joined already; see :func:`measure_worth`."""
    spec = prepared.spec
    groups = group_columns(prepared.data.schema.names, by)
    if len(groups) < 2:
        raise ConfigError(spec.name, [f"has one {by} only, and nothing is left without it"])
    cut = folds_before_cutoff(prepared, folds)
    asked = np.concatenate([fold.validation for fold in cut])
    labels, when = prepared.data.labels[asked], days(prepared.joined.frame)[asked]
    progress("measure what features cost", 0, len(groups))
    upkeep = measure_upkeep(prepared.joined)
    progress("fit with all features", 0, len(groups))
    whole = _scores(prepared, prepared.data, cut)
    found = []
    for number, (name, columns) in enumerate(groups.items()):
        progress(f"fit without {name}", number, len(groups))
        kept = [column for column in prepared.data.schema.names if column not in columns]
        without = _scores(prepared, prepared.data.only(kept), cut)
        gain = lead_over(spec, spec.metric, labels, whole, without, blocks=when, custom={})
        found.append(Worth(name, tuple(columns), gain, upkeep[name]))
    found.sort(key=lambda worth: (-worth.gain.value, worth.name))
    value = measure(spec.metric, labels, whole, quantile=spec.quantile)
    return Worths(spec.name, spec.metric, value, len(asked), tuple(found))


def group_columns(names: Sequence[str], by: By) -> Mapping[str, list[str]]:
    """Group column names by their view, or leave each alone.

    >>> group_columns(["weather__wind", "weather__rain", "route__miles"], "view")
    {'weather': ['weather__wind', 'weather__rain'], 'route': ['route__miles']}
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.split("__", 1)[0] if by == "view" else name, []).append(name)
    return groups


def _scores(prepared: Prepared, data: Dataset, folds: Sequence[TimeFold]) -> Vector:
    """Score every fold's validation rows by a model fitted to what was known before them."""
    params = parameters(prepared.spec, classes=int(data.labels.max()) + 1)
    return np.concatenate([FoldData(data, fold).scores(params, prepared.spec)[0] for fold in folds])
