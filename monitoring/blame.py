"""Why performance moved: the pipeline, the questions, or the world; in parts that add up, and in words."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.schema import FeatureSchema
from knownat.errors import SchemaMismatch
from monitoring.attribution import Case, Rows, Shares, attribute, fall_of
from monitoring.blame_words import tell
from monitoring.hotspots import Cost, find_hotspot
from monitoring.losses import row_losses
from monitoring.metrics import Floats
from monitoring.performance import join_labels, labels_and_scores, mature
from monitoring.rescoring import Rescorer
from monitoring.sampling import evenly
from monitoring.skew_report import SkewReport
from monitoring.source import Evidence
from monitoring.summary import Blame, Culprit, MetricChange, PerformanceStatus, Summary
from monitoring.suspects import Suspect, find_suspects

_ROWS = 5_000
_A_PART = 1 / 3
"""Of the fall; a broken group that accounts for more is the first thing to mend."""


def explain_change(
    evidence: Evidence,
    summary: Summary,
    *,
    now: datetime,
    skew: SkewReport | None = None,
    truth: pa.Table | None = None,
    changes: Sequence[str] = (),
) -> Blame:
    """Say where a window's change of performance comes from.

    Parameters
    ----------
    skew
        What the comparison of served values with training's found in the window, where it was made.
    truth
        Model columns as training would have seen them, with the ``prediction_id`` each row is of.
    changes
        What was changed upstream, in words.
    """
    suspects = find_suspects(
        evidence.release.plan,
        evidence.release.manifest.feature_schema,
        faults=summary.faults,
        features=summary.features,
        skew=skew,
    )
    changes, headline, compared = tuple(changes), summary.headline, skew is not None or truth is not None

    def finish(blame: Blame) -> Blame:
        known = blame.model_copy(update={"changes": changes, "compared": compared})
        return known.model_copy(update={"text": tell(known, summary, suspects)})

    if summary.performance.status is not PerformanceStatus.MEASURED or headline is None:
        culprit = Culprit.PIPELINE if any(s.alarming for s in suspects) else Culprit.UNKNOWN
        return finish(Blame(culprit=culprit, text="", metric=summary.metric))
    if not headline.fell or headline.release is None:
        blame = Blame(culprit=_unhurt(summary, suspects), text="", metric=summary.metric)
        return finish(_with_fall(blame, evidence, headline))
    return finish(_of_fall(evidence, headline, suspects, now=now, truth=truth))


def _unhurt(summary: Summary, suspects: Sequence[Suspect]) -> Culprit:
    if any(suspect.alarming for suspect in suspects):
        return Culprit.PIPELINE
    return Culprit.INPUTS_STABLE if summary.drifted or summary.score.drifted else Culprit.STEADY


def _with_fall(blame: Blame, evidence: Evidence, headline: MetricChange) -> Blame:
    if headline.release is None:
        return blame
    fall = fall_of(evidence.release.manifest.spec, headline.window.value, headline.release.value)
    return blame.model_copy(update={"fall": fall})


def _of_fall(
    evidence: Evidence,
    headline: MetricChange,
    suspects: Sequence[Suspect],
    *,
    now: datetime,
    truth: pa.Table | None,
) -> Blame:
    spec, schema = evidence.release.manifest.spec, evidence.release.manifest.feature_schema
    judged = join_labels(mature(evidence.predictions, spec, now=now), evidence.labels, now=now)
    test = evidence.holdout.filter(pc.is_valid(evidence.holdout["label"]))
    blame = Blame(culprit=Culprit.WORLD, text="", metric=headline.metric)
    blame = _with_fall(blame, evidence, headline)
    shares = _shares(evidence, suspects, judged, test, truth)
    usual = headline.usual
    of_length = 0.0
    if usual is not None and headline.release is not None:
        # Single windows are usually worse than all of them together: that is nobody's fault.
        of_length = fall_of(spec, (usual.low + usual.high) / 2, headline.release.value)
    of_questions = shares.of_questions + of_length
    of_world = (blame.fall or 0.0) - shares.of_values - of_questions
    reference = {
        name: column for name, column in evidence.reference.profile.columns.items() if name in schema.names
    }
    return blame.model_copy(
        update={
            "of_values": shares.of_values,
            "of_questions": of_questions,
            "of_world": of_world,
            "groups": tuple(sorted(shares.parts, key=lambda part: -part.loss)),
            "culprit": _culprit(blame.fall or 0.0, shares, suspects, of_questions, of_world),
            "hotspot": find_hotspot(reference, _cost(evidence, judged), _cost(evidence, test)),
        }
    )


def _culprit(
    fall: float, shares: Shares, suspects: Sequence[Suspect], of_questions: float, of_world: float
) -> Culprit:
    broken = {suspect.name for suspect in suspects if suspect.broken}
    surely = [part for part in shares.parts if part.group in broken and part.range.low > 0]
    if sum(part.loss for part in surely) >= _A_PART * fall:
        return Culprit.PIPELINE
    return Culprit.WORLD if of_world >= of_questions else Culprit.INPUTS


def _shares(
    evidence: Evidence,
    suspects: Sequence[Suspect],
    judged: pa.Table,
    test: pa.Table,
    truth: pa.Table | None,
) -> Shares:
    spec, schema = evidence.release.manifest.spec, evidence.release.manifest.feature_schema
    rescorer = Rescorer(evidence.release)
    if truth is not None and not any(suspect.skewed for suspect in suspects):
        truth = None
    if truth is not None:
        judged = judged.filter(pc.is_in(judged["prediction_id"], truth["prediction_id"].combine_chunks()))
    window, held_out, baseline = (_some(table) for table in (judged, test, evidence.baseline))
    case = Case(
        spec,
        rescorer.predict,
        window=Rows(_matrix(schema, window), labels_and_scores(window)[0]),
        test=Rows(_matrix(schema, held_out), labels_and_scores(held_out)[0]),
        baseline=_matrix(schema, baseline),
        names=np.array(schema.categorical, dtype=np.int64),
        truth=None if truth is None else _matrix(schema, _in_order(truth, window)),
    )
    return attribute(case, suspects)


def _in_order(truth: pa.Table, window: pa.Table) -> pa.Table:
    place = {name: at for at, name in enumerate(truth["prediction_id"].to_pylist())}
    return truth.take(pa.array([place[name] for name in window["prediction_id"].to_pylist()]))


def _some(table: pa.Table) -> pa.Table:
    return table.take(pa.array(evenly(table.num_rows, _ROWS)))


def _matrix(schema: FeatureSchema, table: pa.Table) -> Floats:
    """Lay model columns out; one that is missing or cannot be read has no values."""
    columns = {}
    for column in schema.columns:
        alone = FeatureSchema(columns=(column,))
        try:
            columns[column.name] = alone.matrix(table)[:, 0]
        except SchemaMismatch:
            columns[column.name] = np.full(table.num_rows, np.nan)
    return np.column_stack(list(columns.values()))


def _cost(evidence: Evidence, rows: pa.Table) -> Cost:
    return Cost(rows, row_losses(evidence.release.manifest.spec, *labels_and_scores(rows)))
