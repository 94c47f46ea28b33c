"""Compare logged predictions with what training would have seen, and name every cause: the job."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import to_us
from knownat.contract.read_plan import PlanTransform, PlanView, ReadPlan, Status
from knownat.contract.release import read_release
from knownat.contract.workspace import Workspace
from knownat.scoring.scorer import Scorer
from knownat.stores.history import replay_frame
from knownat.stores.lookups import ViewRows, view_opener
from knownat.stores.repo import Repo, open_repo
from knownat.stores.tables import EVENT_US
from monitoring.causes import Cause, explain
from monitoring.equality import Marks, differing
from monitoring.sampling import sample
from monitoring.served_rows import NEVER, Answers, Times, ViewCase
from monitoring.skew_report import ColumnSkew, SkewReport, column_skew, worst_first

SAMPLE_ROWS = 2_000
_HABIT, _KNOWS_ENOUGH = 0.2, 20

Progress = Callable[[str], None]
Keep = Callable[[pa.Table], None]
Named = dict[str, list[Cause | None]]


def explain_skew(
    workspace: Workspace,
    model: str,
    predictions: pa.Table,
    *,
    rows: int | None = SAMPLE_ROWS,
    steps: Sequence[datetime] | None = None,
    progress: Progress | None = None,
    keep: Keep | None = None,
) -> SkewReport:
    """Compare served values with those that training would have seen at each question's own time.

    Parameters
    ----------
    predictions
        Rows of the prediction log, of any of the model's versions.
    rows
        How many predictions of each version to compare; None is all of them.
    steps
        When online rows were written, where that is known. It tells a late row from one that was
        only not written yet also where nothing else does.
    progress
        Told the name of each view before it is looked at.
    keep
        Given, for each version, the model's columns as training would have seen them, with
        ``prediction_id``, ``event_timestamp`` and ``version``.

    Raises
    ------
    ReleaseError
        If a version's release cannot be read.
    RepoError
        If the repo no longer has a view that a version reads, or values that do not fit their types.
    """
    report = SkewReport(asked=0, rows=0, values=0)
    if not predictions.num_rows:
        return report
    repo = open_repo(workspace.repo)
    for version in sorted(predictions["version"].unique().to_pylist()):
        scorer = Scorer.load(read_release(workspace.releases / model / version))
        own = predictions.filter(pc.equal(predictions["version"], version))
        chosen = own if rows is None else sample(own, scorer.plan, rows)
        told = progress or _silent
        found = _explain_version(repo, scorer, chosen, steps=steps, progress=told, keep=keep or _silent)
        report += found.model_copy(update={"asked": own.num_rows})
    return report


def _explain_version(
    repo: Repo,
    scorer: Scorer,
    predictions: pa.Table,
    *,
    steps: Sequence[datetime] | None,
    progress: Progress,
    keep: Keep,
) -> SkewReport:
    plan = scorer.plan
    named: Named = {}
    offline: dict[str, Sequence[object]] = {}
    for case in _cases(repo, plan, predictions, steps):
        progress(case.view.name)
        named |= {case.view.column(name): causes for name, causes in explain(case).items()}
        offline |= {case.view.column(f.name): case.truth.values[f.name].to_list() for f in case.view.features}
    progress("on-demand features")
    inputs = _request_inputs(plan, predictions)
    made = scorer.columns(offline, inputs)
    served = {name: predictions[name].to_pylist() for name in named}
    remade = scorer.columns(served, inputs)
    for transform in plan.transforms:
        named |= _explain_transform(transform, predictions, made, remade, named)
    keep(_as_trained(predictions, scorer, made))
    ids = predictions["prediction_id"].to_pylist()
    columns = [
        column_skew(name, causes, ids, predictions[name].to_pylist(), made[name])
        for name, causes in named.items()
        if any(cause is not None for cause in causes)
    ]
    differing_columns: list[ColumnSkew] = [column for column in columns if column is not None]
    return SkewReport(
        asked=predictions.num_rows,
        rows=predictions.num_rows,
        values=len(named) * predictions.num_rows,
        columns=worst_first(differing_columns),
    )


def _silent(_: object) -> None:
    pass


def _as_trained(predictions: pa.Table, scorer: Scorer, made: Mapping[str, Sequence[object]]) -> pa.Table:
    columns = {name: pa.array(made[name], from_pandas=True) for name in scorer.schema.names}
    told = ("prediction_id", "event_timestamp", "version")
    return pa.table({name: predictions[name] for name in told} | columns)


def _cases(
    repo: Repo, plan: ReadPlan, predictions: pa.Table, steps: Sequence[datetime] | None
) -> Iterator[ViewCase]:
    """Find what training would have seen of every view, and lay it beside what was served."""
    known = ["event_timestamp", *plan.request_keys]
    questions = predictions.select(["event_timestamp", *(f"key__{name}" for name in plan.request_keys)])
    truth = replay_frame(repo, questions.rename_columns(known), plan, known_at="event_timestamp")
    open_view = view_opener(repo, plan.feature_service)
    said = None if steps is None else _last_before(_microseconds(predictions["event_timestamp"]), steps)
    for view in plan.views:
        yield _case(view, predictions, truth, open_view(view), said)


def _case(
    view: PlanView, predictions: pa.Table, truth: pa.Table, rows: ViewRows, said: Times | None
) -> ViewCase:
    keys = pl.DataFrame(
        {key.view_key: pl.from_arrow(predictions[f"key__{key.request_key}"]) for key in view.keys}
    )
    served = _answers(view, predictions, prefix="served__")
    return ViewCase(
        view=view,
        keys=keys,
        asked_us=_microseconds(predictions["event_timestamp"]),
        served=served,
        truth=_answers(view, truth, prefix=""),
        rows=rows.of_entities(keys),
        find_elsewhere=lambda: rows.of_events(pl.Series(EVENT_US, np.unique(served.event_us[served.found]))),
        said_us=said,
    )


def _answers(view: PlanView, table: pa.Table, *, prefix: str) -> Answers:
    """Read one view's part of a log, or of what the offline store found for it."""
    times = [_microseconds(table[f"{prefix}{view.name}__{what}_timestamp"]) for what in ("event", "created")]
    status = np.array(table[f"{prefix}{view.name}__status"].to_pylist(), dtype=np.str_)
    there = np.isin(status, [Status.PRESENT.value, Status.EXPIRED.value, Status.LAST_KNOWN.value])
    values = {f.name: pl.from_arrow(table[view.column(f.name)]) for f in view.features}
    event, created = (np.where(there, moments, NEVER) for moments in times)
    return Answers(status, event, created, pl.DataFrame(values))


def _explain_transform(
    transform: PlanTransform,
    predictions: pa.Table,
    made: Mapping[str, Sequence[object]],
    remade: Mapping[str, Sequence[object]],
    named: Named,
) -> Named:
    """Name the causes of an on-demand view's values: its inputs' own, or that of its own body."""
    found: Named = {}
    read = [named[column] for column in transform.inputs.values() if column in named]
    for output in transform.outputs:
        name = transform.column(output.name)
        served = predictions[name]
        differs = differing(served, _chunked(made[name]), declared=output.dtype)
        own = differs & differing(served, _chunked(remade[name]), declared=output.dtype)
        habit = int(own.sum()) >= max(_HABIT * len(own), _KNOWS_ENOUGH)
        alone = Cause.OTHER_DEFINITION if habit else Cause.MISMATCH
        found[name] = [_inherited(at, differs, own, read, alone) for at in range(len(differs))]
    return found


def _inherited(
    at: int, differs: Marks, own: Marks, read: Sequence[Sequence[Cause | None]], alone: Cause
) -> Cause | None:
    if not differs[at]:
        return None
    causes = (column[at] for column in read)
    return alone if own[at] else next((cause for cause in causes if cause is not None), alone)


def _request_inputs(plan: ReadPlan, predictions: pa.Table) -> dict[str, Sequence[object]]:
    inputs: dict[str, Sequence[object]] = {
        i.name: predictions[f"input__{i.name}"].to_pylist() for i in plan.request_inputs
    }
    if plan.question_time_input is not None:
        # The question's own time, whatever the log says was handed to the function.
        asked = pc.cast(predictions["event_timestamp"], pa.int64())
        inputs[plan.question_time_input] = asked.to_pylist()
    return inputs


def _last_before(asked_us: Times, steps: Sequence[datetime]) -> Times:
    written = np.array([NEVER, *sorted(to_us(step) for step in steps)])
    return np.asarray(written[np.searchsorted(written, asked_us, side="right") - 1])


def _microseconds(times: pa.ChunkedArray) -> Times:
    numbers = pc.fill_null(pc.cast(pc.cast(times, pa.timestamp("us", tz="UTC")), pa.int64()), NEVER)
    return np.asarray(numbers.to_numpy())


def _chunked(values: Sequence[object]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, from_pandas=True)])
