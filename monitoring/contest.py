"""Another version beside the champion on the same rows, with a rule for when to stop comparing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import from_us, to_us
from knownat.contract.model_spec import METRICS, ModelSpec
from knownat.contract.reference import ANCHOR
from knownat.contract.release import Interval
from knownat.scoring.metrics import compare_paired, weigh
from monitoring.losses import loss_name, row_losses
from monitoring.metrics import Floats
from monitoring.performance import join_labels, mature
from monitoring.sequential import FEWEST_BLOCKS, FEWEST_ROWS, Course, follow
from monitoring.summary import Comparison, Span

Places = npt.NDArray[np.int64]
CHAMPION, CONTENDER = "champion_score", "contender_score"


@dataclass(frozen=True)
class Contest:
    """The rows that the champion and another version have both scored."""

    champion: str
    version: str
    role: str
    rows: pa.Table
    """``prediction_id`` (whose label counts), ``event_timestamp`` and both scores."""
    note: str = ""
    """Why rows are missing, where they are."""


def judge_contest(spec: ModelSpec, contest: Contest, labels: pa.Table, *, now: datetime) -> Comparison:
    """Compare two versions on the matured rows that both have scored.

    Differences of loss are averaged over blocks of ``compare_block_hours``, since rows of one day share
    what made them hard; a block counts once its last row has matured. The decision is the first block
    after which the mean difference is beyond zero at every look so far, and it does not change after.
    """
    known = Comparison(
        champion=contest.champion, version=contest.version, role=contest.role, note=contest.note
    )
    judged = join_labels(mature(contest.rows, spec, now=now), labels, now=now).sort_by("event_timestamp")
    judged = _of_shared_classes(judged)
    if not judged.num_rows:
        return known
    label, ours, theirs = (_floats(judged[name]) for name in ("label", CHAMPION, CONTENDER))
    asked = _microseconds(judged["event_timestamp"])
    hours = spec.monitoring.compare_block_hours
    block = (asked - to_us(ANCHOR)) // (hours * 3_600_000_000)
    wait = timedelta(hours=spec.monitoring.label_wait_hours)
    whole = (to_us(now - wait) - to_us(ANCHOR)) // (hours * 3_600_000_000)
    gains = row_losses(spec, label, ours) - row_losses(spec, label, theirs)
    last, means = _block_means(block[block < whole], gains[block < whole])
    return known.model_copy(
        update={
            "since": from_us(int(asked[0])),
            "rows": judged.num_rows,
            "lead": _lead(spec, label, ours, theirs, block),
            "loss": loss_name(spec),
            "gain": float(gains.mean()),
            "blocks": len(means),
            "block_hours": hours,
            **_decide(follow(means), last, timedelta(hours=hours)),
        }
    )


def _of_shared_classes(judged: pa.Table) -> pa.Table:
    """Leave out labels that are a class one of the two does not know: they say nothing of its shares."""
    if not judged.num_rows or not pa.types.is_list(judged[CHAMPION].type):
        return judged
    shared = min(_floats(judged[name]).shape[1] for name in (CHAMPION, CONTENDER))
    return judged.filter(pa.array(np.isin(_floats(judged["label"]), np.arange(shared))))


def _decide(course: Course, last: Places, block: timedelta) -> dict[str, object]:
    blocks = len(course.mean)
    if blocks < FEWEST_BLOCKS:
        return {}
    stopped = course.stopped
    # Bounds that all hold at once hold together.
    span = Span(low=float(course.low.max()), high=float(course.high.min()))
    if span.low > span.high:
        span = Span(low=float(course.low[-1]), high=float(course.high[-1]))
    if stopped is None:
        return {"gain_range": span}
    return {
        "gain_range": span,
        "decision": "better" if course.low[stopped] > 0 else "worse",
        "decided_at": ANCHOR + block * (int(last[stopped]) + 1),
    }


def _block_means(block: Places, gains: Floats) -> tuple[Places, Floats]:
    """Return the last block each mean is of, and the means; a thin block waits for the next one's rows."""
    last: list[int] = []
    means: list[float] = []
    waiting: Sequence[Floats] = ()
    for number, at in zip(*_runs(block), strict=True):
        waiting = (*waiting, gains[at])
        rows = np.concatenate(waiting)
        if len(rows) >= FEWEST_ROWS:
            last.append(number)
            means.append(float(rows.mean()))
            waiting = ()
    return np.array(last, dtype=np.int64), np.array(means)


def _runs(block: Places) -> tuple[list[int], list[slice]]:
    numbers, starts = np.unique(block, return_index=True)
    ends = [*starts[1:].tolist(), len(block)]
    return numbers.tolist(), [slice(a, b) for a, b in zip(starts.tolist(), ends, strict=True)]


def _lead(spec: ModelSpec, label: Floats, ours: Floats, theirs: Floats, block: Places) -> Interval | None:
    metric = spec.metric
    champion, contender = (weigh(metric, label, score, quantile=spec.quantile) for score in (ours, theirs))
    sides = (contender, champion) if METRICS[metric][0] == "higher" else (champion, contender)
    value, low, high = compare_paired(*sides, blocks=block)
    if not np.isfinite([value, low, high]).all():
        return None
    return Interval(value=value, low=low, high=high, rows=len(label))


def _floats(values: pa.ChunkedArray) -> Floats:
    if pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        return np.array(values.to_pylist(), dtype=np.float64)
    return np.asarray(values.to_numpy(), dtype=np.float64)


def _microseconds(times: pa.ChunkedArray) -> Places:
    return np.asarray(pc.cast(pc.cast(times, pa.timestamp("us", tz="UTC")), pa.int64()).to_numpy())
