"""What a change of definitions does to a release's answers: recent questions, asked again in both worlds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.contract.log_reader import read_labels, read_predictions
from knownat.contract.model_spec import ModelSpec
from knownat.contract.release import HOLDOUT, Release
from knownat.contract.workspace import Workspace
from knownat.errors import KnownatError, SchemaMismatch
from knownat.scoring.metrics import measure
from knownat.scoring.scorer import TOLERANCE, Scorer
from training.comparison import count_differing
from training.dataset import Vector
from training.examples import EVENT_TIMESTAMP, LABEL
from training.leads import lead_over
from training.split import days, evenly

Join = Callable[[pa.Table, str], pa.Table]
"""Joins questions with a feature service: the questions' columns, then the features."""

FEWEST_LABELS = 20


@dataclass(frozen=True)
class MetricEffect:
    """A metric of the same labelled questions in both worlds; ``gain`` is above 0 where the change helps."""

    metric: str
    labelled: int
    before: float
    after: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What became of the questions; ``problem`` says why nothing could be measured."""

    source: str = ""
    """Where the questions come from, in words."""
    questions: int = 0
    columns_changed: Mapping[str, int] = field(default_factory=dict)
    """Of each model column that differs, in how many questions."""
    scores_changed: int = 0
    mean_change: float = 0.0
    largest_change: float = 0.0
    metric: MetricEffect | None = None
    problem: str = ""
    fails: bool = False
    """Whether what the release needs can no longer be had."""


@dataclass(frozen=True)
class Recent:
    """Which questions to ask again: those of the last days before a time, and how many at most."""

    until: datetime
    days: int
    most: int


def measure_effect(
    workspace: Workspace, release: Release, recent: Recent, *, before: Join, after: Join
) -> Effect:
    """Ask a release's recent questions with the old and the new definitions, score both, and compare.

    Where nothing was logged, its own hold-out is asked. What cannot be asked or scored any more is told,
    not raised.
    """
    asked, source = recent_questions(workspace, release, recent)
    if not asked.num_rows:
        return Effect(source=source, problem="there is nothing to ask again")
    spec = release.manifest.spec
    questions = asked.select([*spec.examples.keys, EVENT_TIMESTAMP, *spec.examples.inputs])
    try:
        frames = [join(questions, spec.feature_service) for join in (before, after)]
        scorer = Scorer.load(release)
        was, now = (scorer.score(frame) for frame in frames)
    except (KnownatError, SchemaMismatch) as error:
        return Effect(source=source, questions=asked.num_rows, problem=str(error), fails=True)
    counts = {name: _differing(frames[0][name], frames[1][name]) for name in scorer.schema.names}
    moved = np.abs(was - now).reshape(len(was), -1).max(axis=1)
    return Effect(
        source=source,
        questions=asked.num_rows,
        columns_changed={name: count for name, count in counts.items() if count},
        scores_changed=int((moved > TOLERANCE).sum()),
        mean_change=float(moved.mean()),
        largest_change=float(moved.max()),
        metric=_metric(spec, asked, was, now),
    )


def recent_questions(workspace: Workspace, release: Release, recent: Recent) -> tuple[pa.Table, str]:
    """Take a release's newest logged questions, or those of its hold-out; labels where they are known."""
    manifest, end = release.manifest, f"{recent.until:%Y-%m-%d %H:%M}"
    if hidden := manifest.spec.serving.pseudonymous_keys:
        return _held_out(release, recent), f"its hold-out, as the log hides {', '.join(hidden)}"
    logged = read_predictions(
        workspace.predictions,
        manifest.model,
        start=recent.until - timedelta(days=recent.days),
        end=recent.until,
        version=manifest.version,
    )
    if not logged.num_rows:
        why = f"its hold-out, as none was logged in the {recent.days} days before {end}"
        return _held_out(release, recent), why
    asked = _thin(logged, recent.most)
    columns = {name: asked[f"key__{name}"] for name in manifest.spec.examples.keys}
    columns |= {name: asked[f"input__{name}"] for name in manifest.spec.examples.inputs}
    labels = read_labels(workspace.predictions, manifest.model)
    place = pc.index_in(asked["prediction_id"], value_set=labels["prediction_id"].combine_chunks())
    columns |= {EVENT_TIMESTAMP: asked[EVENT_TIMESTAMP], LABEL: labels[LABEL].take(place)}
    times = pc.min_max(asked[EVENT_TIMESTAMP]).as_py()
    return pa.table(columns), f"logged, {times['min']:%Y-%m-%d %H:%M} to {times['max']:%Y-%m-%d %H:%M}"


def _held_out(release: Release, recent: Recent) -> pa.Table:
    return _thin(pq.read_table(pa.BufferReader(release.read_bytes(HOLDOUT))), recent.most)


def _thin(rows: pa.Table, most: int) -> pa.Table:
    return rows.take(pa.array(evenly(np.arange(rows.num_rows), most)))


def _differing(was: pa.ChunkedArray, now: pa.ChunkedArray) -> int:
    # Of another type than it was, every value is another one.
    return count_differing(was, now) if was.type == now.type else len(was)


def _metric(spec: ModelSpec, asked: pa.Table, was: Vector, now: Vector) -> MetricEffect | None:
    known = np.flatnonzero(np.asarray(pc.is_valid(asked[LABEL])))
    if len(known) < FEWEST_LABELS:
        return None
    labels = asked[LABEL].take(pa.array(known)).to_numpy().astype(np.float64)
    when = days(asked.take(pa.array(known)))
    old, new = (
        measure(spec.metric, labels, given, quantile=spec.quantile) for given in (was[known], now[known])
    )
    if np.isnan(old) or np.isnan(new):
        return None
    lead = lead_over(spec, spec.metric, labels, now[known], was[known], blocks=when, custom={})
    return MetricEffect(spec.metric, len(known), old, new, gain=lead.value, low=lead.low, high=lead.high)
