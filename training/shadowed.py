"""Champion and shadow on the same live questions: compared once, on answers fixed beforehand.

The first questions in order of time that both answered and whose labels matured, until there are
enough of them over enough blocks of time. Whoever looks daily sees the same rows until then and
decides once, so the interval promises what it says; the reports may be looked at daily, and do not
decide here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import to_us
from knownat.contract.log_reader import read_labels, read_predictions
from knownat.contract.model_spec import ModelSpec
from knownat.contract.prediction_log import TIMESTAMP, Role
from knownat.contract.workspace import Workspace
from training.leads import Lead, lead_over
from training.split import microseconds

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
    if matured <= since:
        return Waiting(0, 0)
    pairs = _labelled_pairs(workspace, spec, champion=champion, shadow=shadow, span=(since, matured), now=now)
    block = (microseconds(pairs["event_timestamp"]) - to_us(since)) // (
        spec.monitoring.compare_block_hours * 3_600_000_000
    )
    until = _enough(block, spec.retraining.shadow_answers)
    if until is None:
        return Waiting(pairs.num_rows, len(np.unique(block)))
    rows = pairs.slice(0, until)
    label, theirs, ours = (
        np.asarray(rows[name].to_numpy(), dtype=np.float64) for name in ("label", "score", "shadow_score")
    )
    lead = lead_over(spec, spec.metric, label, ours, theirs, blocks=block[:until], custom={})
    last = pc.max(rows["event_timestamp"]).as_py()
    return Compared(lead, until, len(np.unique(block[:until])), last)


def _enough(block: np.ndarray[tuple[int], np.dtype[np.int64]], answers: int) -> int | None:
    """Count the rows of the first whole blocks that are enough; None if there are not so many."""
    # The last block may still be filling up.
    ends = np.flatnonzero(np.diff(block)) + 1
    for number, end in enumerate(ends.tolist(), start=1):
        if end >= answers and number >= FEWEST_BLOCKS:
            return int(end)
    return None


def _labelled_pairs(
    workspace: Workspace,
    spec: ModelSpec,
    *,
    champion: str,
    shadow: str,
    span: tuple[datetime, datetime],
    now: datetime,
) -> pa.Table:
    root, (start, end) = workspace.predictions, span
    theirs, ours = (
        read_predictions(root, spec.name, start=start, end=end, version=version)
        for version in (champion, shadow)
    )
    theirs, ours = _of_role(theirs, Role.CHAMPION), _of_role(ours, Role.SHADOW)
    keys = [name for name in theirs.column_names if name.startswith("key__") and name in ours.column_names]
    on = ["request_id", "event_timestamp", *keys]
    joined = theirs.select(["prediction_id", "score", *on]).join(
        ours.select(["score", *on]).rename_columns(["shadow_score", *on]), on, join_type="inner"
    )
    labels = read_labels(root, spec.name)
    moment = pa.scalar(now, TIMESTAMP)
    known = labels.filter(
        pc.and_(pc.less_equal(labels["logged_at"], moment), pc.less_equal(labels["label_timestamp"], moment))
    )
    labelled = joined.join(known.select(["prediction_id", "label"]), "prediction_id", join_type="inner")
    return labelled.sort_by([("event_timestamp", "ascending"), ("prediction_id", "ascending")])


def _of_role(table: pa.Table, role: Role) -> pa.Table:
    return table.filter(pc.equal(table["role"], str(role)))
