"""What a metric ought to be, judging by the scores alone: for windows whose labels are still to come.

If a score of .3 means that three in ten are positive, the scores of a window say how well they must
rank and how much they must cost (confidence-based performance estimation). They say nothing of a
world that changed: a score keeps its meaning only as long as the world does. So the estimate is put
right by what it missed in past windows, its range is as wide as that varied, and it is never a
reason to act.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import to_us
from knownat.contract.columns import as_numbers
from knownat.contract.model_spec import ModelSpec
from knownat.scoring.metrics import measure
from monitoring.metrics import Floats
from monitoring.sampling import evenly
from monitoring.summary import Estimate, Span
from monitoring.windows import Window

FEWEST_WINDOWS = 5
"""Before so many past windows their spread is not known well enough to say how far the truth may lie."""
MOST_WINDOWS = 52
COVERAGE = 0.95
_ESTIMABLE = {"auc": 1.0, "average_precision": 1.0, "log_loss": np.inf, "brier": 1.0}
"""Each with the most it can be; the least is nothing."""
_FEWEST_ROWS = 50
_EDGE = 0.1
"""A window that lacks more of its length than this at an end of a table is cut, not whole."""
_DRAWS = 40
_ROWS_DRAWN = 20_000


def expected_metric(metric: str, scores: Floats) -> float:
    """Return what a metric of these probabilities comes to if each means what it says."""
    if metric == "brier":
        return float(np.mean(scores * (1 - scores)))
    # Each row counts as a positive by its score and as a negative by the rest.
    return measure(metric, scores, scores)


def estimate_metrics(
    spec: ModelSpec, scores: Floats, past: tuple[pa.Table, ...], window: Window
) -> tuple[Estimate, ...]:
    """Estimate the metrics of a window from its scores, with how far such estimates were off before.

    The model's own metric comes first. Empty for a task that is not binary and for fewer rows than
    are judged.

    Parameters
    ----------
    past
        What the truth is known of: the release's own test, and what it answered before this window;
        each with ``event_timestamp``, ``label`` and ``score``. They are cut in step with the window.
    """
    if spec.task != "binary" or len(scores) < spec.monitoring.min_rows:
        return ()
    windows = [each for table in past for each in _cut(table, window)][-MOST_WINDOWS:]
    names = [spec.metric, *(name for name in _ESTIMABLE if name != spec.metric)]
    return tuple(
        found
        for name in names
        if name in _ESTIMABLE and (found := _estimate(name, scores, windows)) is not None
    )


@dataclass(frozen=True)
class _PastWindow:
    labels: Floats
    scores: Floats

    def missed(self, metric: str) -> float:
        """By how much the truth was above what the scores said."""
        return measure(metric, self.labels, self.scores) - expected_metric(metric, self.scores)


def _cut(table: pa.Table, window: Window) -> Iterator[_PastWindow]:
    """Cut whole windows of the given one's length, in step with it, side by side; oldest first."""
    if not table.num_rows or not {"event_timestamp", "label", "score"} <= set(table.column_names):
        return
    table = table.filter(pc.is_valid(table["label"])).sort_by("event_timestamp")
    if not table.num_rows:
        return
    asked = pc.cast(pc.cast(table["event_timestamp"], pa.timestamp("us", tz="UTC")), pa.int64()).to_numpy()
    labels, scores = (as_numbers(name, table[name]) for name in ("label", "score"))
    start, length = to_us(window.start), to_us(window.end) - to_us(window.start)
    slack = int(_EDGE * length)
    first, last = -((start - asked[0] + slack) // length), (asked[-1] + slack - start) // length
    for number in range(int(first), min(int(last), 0)):
        begin, end = np.searchsorted(asked, [start + number * length, start + (number + 1) * length])
        if end - begin >= _FEWEST_ROWS:
            yield _PastWindow(labels[begin:end], scores[begin:end])


def _estimate(metric: str, scores: Floats, windows: list[_PastWindow]) -> Estimate | None:
    raw = expected_metric(metric, scores)
    if not np.isfinite(raw):
        return None
    missed = np.array([each.missed(metric) for each in windows])
    known = np.isfinite(missed)
    missed, rows = missed[known], np.array([len(each.labels) for each in windows])[known]
    bias = float(missed.mean()) if len(missed) else 0.0
    found = Estimate(metric=metric, value=raw + bias, range=None, bias=bias, windows=len(missed))
    if len(missed) < FEWEST_WINDOWS:
        return found
    half = _half_width(missed, rows, chance=_variance_by_chance(metric, scores), now=len(scores))
    most = _ESTIMABLE[metric]
    low, high = (min(max(end, 0.0), most) for end in (found.value - half, found.value + half))
    return found.model_copy(update={"range": Span(low=low, high=high)})


def _half_width(missed: Floats, rows: Floats, *, chance: float, now: int) -> float:
    """Return half the prediction interval of one more miss, Student's for so many of them.

    Misses vary by the chance of their rows, which is larger for fewer of them, and by what differs
    from window to window, which stays however many rows there are.
    """
    of_past = float(np.mean(chance * now / rows))
    between = max(float(missed.var(ddof=1)) - of_past, 0.0)
    count = len(missed)
    return _student(count - 1) * float(np.sqrt((between + chance) * (1 + 1 / count)))


def _variance_by_chance(metric: str, scores: Floats) -> float:
    """Return the variance of a metric over labels drawn by the scores, the same on every run."""
    some = scores[evenly(len(scores), min(len(scores), _ROWS_DRAWN))]
    random = np.random.default_rng(20130101)
    drawn = [measure(metric, (random.random(len(some)) < some).astype(float), some) for _ in range(_DRAWS)]
    return float(np.nanvar(drawn, ddof=1)) * len(some) / len(scores)


def _student(freedom: int) -> float:
    # SciPy comes with LightGBM's own needs and takes a while to import.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + COVERAGE) / 2))
