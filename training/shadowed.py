"""Champion and shadow on the same live questions: compared once, on answers fixed beforehand.

The first questions in order of time that both answered and whose labels matured, until there are
enough of them over enough blocks of time. Whoever looks daily sees the same rows until then and
decides once, so the interval promises what it says; the reports may be looked at daily, and do not
decide here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import from_us, to_us
from knownat.contract.log_reader import read_labels, read_predictions
from knownat.contract.model_spec import ModelSpec
from knownat.contract.prediction_log import TIMESTAMP, Role, logged_scores
from knownat.contract.workspace import Workspace
from training.dataset import Vector
from training.leads import Lead, lead_over
from training.split import Rows, microseconds

_TURN = "__turn"

FEWEST_BLOCKS = 20
"""A bootstrap of fewer blocks draws rows, and promises too much: a day's rows share what made them hard."""


@dataclass(frozen=True)
class Waiting:
    """Not enough labelled answers yet."""

    answers: int
    blocks: int


@dataclass(frozen=True)
class Compared:
    """By how much the shadow's metric is better than the champion's, on the same rows."""

    lead: Lead
    answers: int
    blocks: int
    until: datetime
    """The last question that was looked at."""


def compare_answers(
    workspace: Workspace, spec: ModelSpec, *, champion: str, shadow: str, since: datetime, now: datetime
) -> Waiting | Compared:
    """Compare two versions on the labelled questions that both answered since a time, if they suffice.

    Raises
    ------
    LogError
        If the prediction log is damaged beyond its tail.
    """
    matured = now - timedelta(hours=spec.monitoring.label_wait_hours)
    pairs = _labelled_pairs(workspace, spec, champion=champion, shadow=shadow, span=(since, matured), now=now)
    block = (pairs.asked - to_us(since)) // (spec.monitoring.compare_block_hours * 3_600_000_000)
    until = _enough(block, spec.retraining.shadow_answers)
    if until is None:
        return Waiting(len(pairs.asked), len(np.unique(block)))
    label, theirs, ours = pairs.labels[:until], pairs.theirs[:until], pairs.ours[:until]
    lead = lead_over(spec, spec.metric, label, ours, theirs, blocks=block[:until], custom={})
    return Compared(lead, until, len(np.unique(block[:until])), from_us(int(pairs.asked[until - 1])))


def _enough(block: Rows, answers: int) -> int | None:
    """Count the rows of the first whole blocks that are enough; None if there are not so many."""
    # The last block may still be filling up.
    ends = np.flatnonzero(np.diff(block)) + 1
    for number, end in enumerate(ends.tolist(), start=1):
        if end >= answers and number >= FEWEST_BLOCKS:
            return int(end)
    return None


@dataclass(frozen=True)
class _Pairs:
    """Questions that both answered and whose labels are known, in order of time; scores of each side."""

    asked: Rows
    labels: Vector
    theirs: Vector
    ours: Vector


def _labelled_pairs(
    workspace: Workspace,
    spec: ModelSpec,
    *,
    champion: str,
    shadow: str,
    span: tuple[datetime, datetime],
    now: datetime,
) -> _Pairs:
    root, (start, end) = workspace.predictions, span
    theirs, ours = (
        _of_role(read_predictions(root, spec.name, start=start, end=end, version=version), role)
        for version, role in ((champion, Role.CHAMPION), (shadow, Role.SHADOW))
    )
    their_place, our_place = _pair(theirs, ours)
    theirs, ours = theirs.take(their_place), ours.take(our_place)
    known = _known_labels(workspace, spec, now)
    place = pc.index_in(theirs["prediction_id"], value_set=known["prediction_id"].combine_chunks())
    labelled = np.flatnonzero(pc.is_valid(place).to_numpy())
    return _Pairs(
        asked=microseconds(theirs["event_timestamp"])[labelled],
        labels=known["label"].take(place.take(pa.array(labelled))).to_numpy(),
        theirs=logged_scores(theirs)[labelled],
        ours=logged_scores(ours)[labelled],
    )


def _pair(theirs: pa.Table, ours: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Find the rows of the same question on both sides, in the order of the first.

    One that was asked twice within a request is paired in its turn; a key that is null is like any other.
    """
    keys = [name for name in theirs.column_names if name.startswith("key__") and name in ours.column_names]
    on = ["request_id", "event_timestamp", *keys]
    left, right = (
        pl.DataFrame(side.select(on))
        .with_row_index(name)
        .with_columns(pl.int_range(pl.len()).over(on).alias(_TURN))
        for name, side in (("theirs", theirs), ("ours", ours))
    )
    both = left.join(right, on=[*on, _TURN], how="inner", nulls_equal=True).sort("theirs")
    return both["theirs"].to_arrow(), both["ours"].to_arrow()


def _known_labels(workspace: Workspace, spec: ModelSpec, now: datetime) -> pa.Table:
    labels, moment = read_labels(workspace.predictions, spec.name), pa.scalar(now, TIMESTAMP)
    return labels.filter(
        pc.and_(pc.less_equal(labels["logged_at"], moment), pc.less_equal(labels["label_timestamp"], moment))
    )


def _of_role(table: pa.Table, role: Role) -> pa.Table:
    return table.filter(pc.equal(table["role"], str(role)))
