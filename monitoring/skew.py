"""Is what was served what the offline store gives? Value by value, at the last write before each question.

An online value is as old as the last time rows were written, so it is compared with the newest row
visible by then, its time to live measured at the question. Compared with what was known at the
question itself, a row that arrived in between would look like skew and be none.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.prediction_log import TIMESTAMP, logged_scores
from knownat.contract.read_plan import ReadPlan
from knownat.contract.release import read_release
from knownat.contract.workspace import Workspace
from knownat.scoring.scorer import Scorer, largest_difference
from knownat.stores.history import replay_frame
from knownat.stores.materialization import watermarks
from knownat.stores.repo import Repo, open_repo
from monitoring.equality import differing

_NAMED = 20
_KNOWN_AT = "known_at"
_ORIGIN = ("event_timestamp", "created_timestamp", "status")
_BEFORE_ANY_WRITE = datetime(1, 1, 1, tzinfo=UTC)

Steps = Mapping[str, tuple[datetime, ...]]
"""When each view's online rows were written, in order."""


@dataclass(frozen=True)
class Mismatch:
    """One served value that is not the offline one."""

    prediction_id: str
    column: str
    served: object
    offline: object


@dataclass(frozen=True)
class SkewResult:
    """How many served values and scores were compared, and which of them differ."""

    rows: int = 0
    rows_left_out: int = 0
    """Asked before the last known write, where only that write's time is known."""
    values_compared: int = 0
    """Feature values: stored ones and those made on demand."""
    mismatches: int = 0
    origins_compared: int = 0
    """Where values came from: each view's status, and both times of the row that was served."""
    origin_mismatches: int = 0
    max_score_difference: float = 0.0
    by_column: Mapping[str, int] = field(default_factory=dict)
    first: tuple[Mismatch, ...] = ()
    """The first few, of values and of origins."""

    def __add__(self, other: "SkewResult") -> "SkewResult":
        """Put two results side by side."""
        columns = dict.fromkeys([*self.by_column, *other.by_column])
        return SkewResult(
            rows=self.rows + other.rows,
            rows_left_out=self.rows_left_out + other.rows_left_out,
            values_compared=self.values_compared + other.values_compared,
            mismatches=self.mismatches + other.mismatches,
            origins_compared=self.origins_compared + other.origins_compared,
            origin_mismatches=self.origin_mismatches + other.origin_mismatches,
            max_score_difference=max(self.max_score_difference, other.max_score_difference),
            by_column={c: self.by_column.get(c, 0) + other.by_column.get(c, 0) for c in columns},
            first=(*self.first, *other.first)[:_NAMED],
        )


def replay(
    workspace: Workspace, model: str, predictions: pa.Table, steps: Sequence[datetime] | None = None
) -> SkewResult:
    """Recompute every served value and score offline, and compare.

    Parameters
    ----------
    predictions
        Rows of the prediction log, of any of the model's versions.
    steps
        When online rows were written, in any order. Without them only each view's last write is
        known, and predictions asked before one of those are left out and counted.

    Raises
    ------
    ReleaseError
        If a version's release cannot be read.
    RepoError
        If the repo no longer has a view that a version reads.
    """
    repo = open_repo(workspace.repo)
    result = SkewResult()
    for version in sorted(predictions["version"].unique().to_pylist()):
        scorer = Scorer.load(read_release(workspace.releases / model / version))
        own = predictions.filter(pc.equal(predictions["version"], version))
        result += _replay_version(repo, scorer, own, steps)
    return result


def _replay_version(
    repo: Repo, scorer: Scorer, predictions: pa.Table, steps: Sequence[datetime] | None
) -> SkewResult:
    plan = scorer.plan
    if steps is None:
        marks = watermarks(repo)
        newest = max(marks.values(), default=_BEFORE_ANY_WRITE)
        written: Steps = {view.name: (marks.get(view.name, newest),) for view in plan.views}
        kept = predictions.filter(_asked_from(predictions, newest))
    else:
        written, kept = dict.fromkeys((view.name for view in plan.views), tuple(sorted(steps))), predictions
    left_out = predictions.num_rows - kept.num_rows
    if not kept.num_rows:
        return SkewResult(rows_left_out=left_out)
    offline = _recompute(repo, plan, kept, written)
    columns = _with_on_demand(scorer, kept, offline)
    names = [view.column(f.name) for view in plan.views for f in view.features]
    names += [transform.column(f.name) for transform in plan.transforms for f in transform.outputs]
    values = _compare(kept, {name: _array(columns[name]) for name in names})
    origins = _compare(kept, _served_rows(plan, offline))
    score = scorer.score({name: columns[name] for name in scorer.schema.names})
    return SkewResult(
        rows=kept.num_rows,
        rows_left_out=left_out,
        values_compared=len(names) * kept.num_rows,
        mismatches=sum(values.counts.values()),
        origins_compared=len(plan.views) * len(_ORIGIN) * kept.num_rows,
        origin_mismatches=sum(origins.counts.values()),
        max_score_difference=largest_difference(score, logged_scores(kept)),
        by_column={**values.counts, **origins.counts},
        first=(*values.first, *origins.first)[:_NAMED],
    )


def _recompute(repo: Repo, plan: ReadPlan, predictions: pa.Table, steps: Steps) -> pa.Table:
    """Ask the offline store for every view's row at the last write before each question."""
    asked = pa.table(
        {
            **{name: predictions[f"key__{name}"] for name in plan.request_keys},
            "event_timestamp": predictions["event_timestamp"],
        }
    )
    result = asked
    for times in dict.fromkeys(steps.values()):
        views = tuple(view for view in plan.views if steps[view.name] == times)
        part = plan.model_copy(update={"views": views})
        known = _last_before(asked["event_timestamp"], times)
        found = replay_frame(repo, asked.append_column(_KNOWN_AT, known), part, known_at=_KNOWN_AT)
        for name in found.column_names[asked.num_columns + 1 :]:
            result = result.append_column(name, found[name])
    return result


def _with_on_demand(
    scorer: Scorer, predictions: pa.Table, offline: pa.Table
) -> Mapping[str, Sequence[object]]:
    plan = scorer.plan
    stored = {view.column(f.name) for view in plan.views for f in view.features}
    inputs = {
        i.name: predictions[f"input__{i.name}"].to_pylist()
        for i in plan.request_inputs
        if i.name != plan.question_time_input
    }
    if plan.question_time_input is not None:
        # The question's own time, whatever the log says was handed to the function.
        inputs[plan.question_time_input] = pc.cast(predictions["event_timestamp"], pa.int64()).to_pylist()
    return scorer.columns({name: offline[name].to_pylist() for name in stored}, inputs)


def _served_rows(plan: ReadPlan, offline: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {
        f"served__{view.name}__{what}": offline[f"{view.name}__{what}"]
        for view in plan.views
        for what in _ORIGIN
    }


@dataclass(frozen=True)
class _Compared:
    counts: dict[str, int]
    first: tuple[Mismatch, ...]


def _compare(predictions: pa.Table, offline: Mapping[str, pa.ChunkedArray]) -> _Compared:
    counts: dict[str, int] = {}
    first: list[Mismatch] = []
    for name, wanted in offline.items():
        have = name in predictions.column_names
        served = predictions[name] if have else pa.chunked_array([pa.nulls(predictions.num_rows)])
        places = np.flatnonzero(differing(served, wanted))
        if len(places):
            counts[name] = len(places)
        for place in places[: _NAMED - len(first)].tolist():
            who = predictions["prediction_id"][place].as_py()
            first.append(Mismatch(who, name, served[place].as_py(), wanted[place].as_py()))
    return _Compared(counts, tuple(first))


def _last_before(questions: pa.ChunkedArray, steps: Sequence[datetime]) -> pa.Array:
    """Find the last step at or before each question; before the first, nothing was written."""
    found = [bisect_right(steps, asked) for asked in questions.to_pylist()]
    return pa.array([steps[n - 1] if n else _BEFORE_ANY_WRITE for n in found], TIMESTAMP)


def _asked_from(predictions: pa.Table, first: datetime) -> pa.ChunkedArray:
    return pc.greater_equal(predictions["event_timestamp"], pa.scalar(first, TIMESTAMP))


def _array(values: Sequence[object]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, from_pandas=True)])
