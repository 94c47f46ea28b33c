"""What one judged window says: ``summary.json``, which pages and the index are made from."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from knownat.contract.model_spec import Task
from knownat.contract.release import Interval


class Level(StrEnum):
    """How much something asks of a reader."""

    OK = "ok"
    WATCH = "watch"
    ALERT = "alert"


class FaultKind(StrEnum):
    """What can be wrong with the data itself, whatever its distribution."""

    EMPTY_WINDOW = "empty_window"
    MISSING_COLUMN = "missing_column"
    NEW_COLUMN = "new_column"
    WRONG_TYPE = "wrong_type"
    ALL_NULL = "all_null"
    MORE_NULLS = "more_nulls"
    INFINITE = "infinite"
    CONSTANT = "constant"
    OUT_OF_RANGE = "out_of_range"
    NEW_CATEGORIES = "new_categories"
    UNIT_CHANGED = "unit_changed"
    SWAPPED = "swapped"
    STALE = "stale"
    PAST_TTL = "past_ttl"
    EXPIRED = "expired"
    NOT_FOUND = "not_found"
    UNAVAILABLE = "unavailable"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Fault(_Frozen):
    """One thing wrong with a column, a view or the window; ``share`` is of the window's rows."""

    kind: FaultKind
    level: Level
    subject: str
    share: float | None = None
    message: str


class Bucket(_Frozen):
    """One bucket of a column: what falls into it, and the share of rows on both sides."""

    label: str
    baseline: float
    window: float


class ColumnDrift(_Frozen):
    """How far one column's distribution moved from the baseline's."""

    column: str
    kind: Literal["numeric", "category"]
    importance: float = Field(ge=0)
    """Share of the model's split gain; 0 for a column that no tree splits on."""
    psi: float | None
    """Population stability index over the baseline's quantiles, nulls apart; None if not measured."""
    threshold: float
    """What ``psi`` must exceed to count: the largest of the declared effect, chance, and the usual."""
    drifted: bool
    note: str = ""
    """Why it was not measured, where it was not."""
    distance: float | None = None
    """Wasserstein distance in standard deviations of the baseline, or Jensen-Shannon's of names."""
    moved: str = ""
    """What moved: ``p50 4 → 19``."""
    nulls_baseline: float
    nulls_window: float | None
    buckets: tuple[Bucket, ...] = ()

    @property
    def weight(self) -> float:
        """How far it moved times how much the model leans on it: what to look at first."""
        return self.importance * (self.psi or 0.0)


class ViewStatus(_Frozen):
    """What became of one view's rows, as shares of the window's predictions."""

    view: str
    present: float
    expired: float
    not_found: float
    unavailable: float
    expected_absent: float
    """Share of baseline rows in which the view gave no current row."""
    past_ttl: float = 0.0
    """Share that was served as present though past the view's time to live."""
    age_s: float | None = None
    """Median age of its rows at the question, in seconds."""
    expected_age_s: float | None = None
    renewed: bool = True
    """Whether its rows were written again and again in training; what never was grows old, not stale."""


class PerformanceStatus(StrEnum):
    """Whether the window's labels can be judged yet."""

    MEASURED = "measured"
    PENDING = "pending"
    TOO_FEW = "too_few"
    UNLABELLED = "unlabelled"


class Span(_Frozen):
    """Two bounds, both within."""

    low: float
    high: float


class MetricChange(_Frozen):
    """One metric of the window beside the release's own, each with a 95 % interval."""

    metric: str
    window: Interval
    release: Interval | None
    drop: float | None
    """Share of the release's number by which the window is worse; negative if better."""
    usual: Span | None = None
    """Between which values 95 of 100 windows of this length were when the release was tested."""
    fell: bool = False
    """The window is worse by more than is allowed, and than is usual."""
    surely: bool = False
    """So is the better end of its interval."""


class Estimate(_Frozen):
    """What a metric ought to be, judging by the scores alone; it never asks anybody to act."""

    metric: str
    value: float
    """Corrected by ``bias``."""
    range: Span | None
    """Where the truth lies in 95 of 100 such windows; None while too few are known to say so."""
    bias: float
    """By how much the truth was above what the scores said, on the mean of the past windows."""
    windows: int
    """Past windows of this length whose truth is known."""


class CalibrationBin(_Frozen):
    """A tenth of the judged rows, by score: what was said, and what came."""

    score: float
    label: float
    low: float
    high: float
    """95 % bounds of ``label``."""
    rows: int


class SliceChange(_Frozen):
    """The model's metric in one group of rows beside the release's own in that group."""

    column: str
    group: str
    window: Interval
    release: float | None
    mean_label: float | None
    """Of a class number there is no mean."""
    mean_score: float | None
    drop: float | None
    """Share of the release's number by which the window is worse; negative if better."""
    fell: bool
    """Worse than is allowed beyond the chance of so many groups."""


class Comparison(_Frozen):
    """Another version beside the champion, on the same rows, as it may be looked at every day."""

    champion: str
    version: str
    role: str
    since: datetime | None = None
    rows: int = 0
    """Matured rows with a label that both have scored."""
    lead: Interval | None = None
    """By how much its metric is better than the champion's, as of now: a single look's interval."""
    loss: str = ""
    gain: float | None = None
    """By how much its mean loss is smaller than the champion's."""
    gain_range: Span | None = None
    """Bounds of ``gain`` that hold at every look together; None before they mean anything."""
    blocks: int = 0
    """Blocks of ``block_hours`` that count as independent."""
    block_hours: int = 24
    decision: Literal["undecided", "better", "worse"] = "undecided"
    decided_at: datetime | None = None
    """The end of the block after which zero was left behind for the first time."""
    note: str = ""


class Performance(_Frozen):
    """Scores against the labels of predictions whose labels had time to arrive."""

    status: PerformanceStatus
    label_wait_hours: int
    matured: int
    """Predictions asked at least the label wait ago."""
    pending: int
    labelled: int
    """Matured predictions whose label is known."""
    mean_label: float | None = None
    mean_score: float | None = None
    metrics: tuple[MetricChange, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    slices: tuple[SliceChange, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    comparisons: tuple[Comparison, ...] = ()

    @property
    def coverage(self) -> float | None:
        """Share of matured predictions that have a label."""
        return self.labelled / self.matured if self.matured else None


class Culprit(StrEnum):
    """What a change of performance comes from, or why there is none."""

    PIPELINE = "the pipeline"
    WORLD = "the world changed"
    INPUTS = "the questions are harder"
    INPUTS_STABLE = "inputs changed, performance stable"
    STEADY = "nothing changed"
    UNKNOWN = "no labels yet"


class BlamePart(_Frozen):
    """How much of the fall one group of features accounts for, in the metric's own unit."""

    group: str
    """A feature view, or an on-demand view."""
    loss: float
    """How much worse the metric is for what was served; negative if it is better for it."""
    range: Span
    """A 95 % interval of it."""
    how: Literal["restored", "lost", "replayed", "moved"]
    """``restored``: the window's rows scored with the values held as in the baseline. ``lost``: the
    test's rows scored with values taken away as in the window. ``replayed``: scored with the values
    training would have seen. ``moved``: no fault, but rows of such scores did worse in the test, too."""
    evidence: tuple[str, ...]
    """The faults, causes of skew and shifts that were found in it."""


class Hotspot(_Frozen):
    """Rows that became dearer beyond all others."""

    column: str
    bucket: str
    rows: int
    loss: float
    loss_in_test: float


class Blame(_Frozen):
    """Where a change of performance comes from: its parts add up to the whole."""

    culprit: Culprit
    text: str
    """One paragraph to act on."""
    metric: str
    fall: float | None = None
    """How much worse the metric is than in the release's test, in its own unit; None if not measured."""
    of_values: float = 0.0
    """What the broken ones of the groups below account for."""
    of_questions: float = 0.0
    """What the test itself lost on rows of such scores: the questions are harder. Of this, groups that
    merely ``moved`` are a part."""
    of_world: float = 0.0
    """The rest: such values and such questions did better in the test."""
    groups: tuple[BlamePart, ...] = ()
    hotspot: Hotspot | None = None
    changes: tuple[str, ...] = ()
    """What was changed upstream before or in the window."""
    compared: bool = False
    """Whether served values were compared with those training would have seen."""


class Verdict(_Frozen):
    """Whether somebody should act, and why."""

    level: Level
    reasons: tuple[str, ...]


class Summary(_Frozen):
    """Everything measured about one model in one window."""

    format: Literal[2] = 2
    model: str
    version: str
    description: str
    owner: str
    runbook: str
    task: Task
    metric: str
    start: datetime
    end: datetime
    judged_at: datetime
    rows: int
    degraded: int
    other_rows: Mapping[str, int]
    """Predictions of the window that were not judged here, by version and role."""
    baseline_rows: int
    verdict: Verdict
    faults: tuple[Fault, ...]
    score: ColumnDrift
    features: tuple[ColumnDrift, ...]
    """Every model column, the most important first."""
    views: tuple[ViewStatus, ...]
    performance: Performance
    blame: Blame | None = None

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The features that drifted, those that moved most of what the model leans on first."""
        moved = (feature for feature in self.features if feature.drifted)
        return tuple(sorted(moved, key=lambda feature: (-feature.weight, -(feature.psi or 0.0))))

    @property
    def headline(self) -> MetricChange | None:
        """The metric that the model is judged by, where it was measured."""
        return next((m for m in self.performance.metrics if m.metric == self.metric), None)
