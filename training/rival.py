"""The champion, judged on the very rows that its rival is judged on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from knownat.clock import to_us
from knownat.contract.model_spec import ModelSpec
from knownat.contract.release import Release
from knownat.contract.workspace import Workspace
from knownat.scoring.metrics import Custom
from knownat.scoring.scorer import Scorer
from training.dataset import Vector
from training.examples import EVENT_TIMESTAMP
from training.frame import join_again
from training.leads import Lead, lead_over
from training.split import days, microseconds


@dataclass(frozen=True)
class Rival:
    """The champion of the moment, and the lead over it by metric; none where no row is new to it."""

    version: str
    rows: int
    leads: Mapping[str, Lead]


def compare_with_champion(
    workspace: Workspace,
    champion: Release,
    spec: ModelSpec,
    test: pa.Table,
    *,
    labels: Vector,
    scores: Vector,
    metrics: Iterable[str],
    custom: Mapping[str, Custom],
) -> Rival:
    """Score the test rows with the champion, and compare metric by metric with a paired bootstrap.

    Rows asked before the champion's own cutoff are left out: it may have been fitted to them. It is given
    the features of its own service, joined anew if this frame lacks a column.

    Raises
    ------
    RepoError, RowsNotConserved, SchemaMismatch
        If the champion's features can no longer be had.
    """
    new = np.flatnonzero(microseconds(test[EVENT_TIMESTAMP]) >= to_us(champion.manifest.cutoff))
    if not len(new):
        return Rival(champion.manifest.version, 0, {})
    rows = test.take(pa.array(new))
    theirs = Scorer.load(champion).score(_with_its_columns(workspace, champion, spec, rows))
    leads = {
        metric: lead_over(spec, metric, labels[new], scores[new], theirs, blocks=days(rows), custom=custom)
        for metric in metrics
    }
    return Rival(champion.manifest.version, len(new), leads)


def _with_its_columns(workspace: Workspace, champion: Release, spec: ModelSpec, rows: pa.Table) -> pa.Table:
    if all(name in rows.column_names for name in champion.manifest.feature_schema.names):
        return rows
    asked = rows.select([*spec.examples.keys, EVENT_TIMESTAMP, *spec.examples.inputs])
    return join_again(workspace, asked, champion.manifest.spec.feature_service)
