"""What a release holds that follows from its data alone: the same rows give the same bytes."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.model_spec import ModelSpec
from knownat.contract.reference import write_reference
from knownat.contract.release import BASELINE, GOLDEN, HOLDOUT, MODEL, PLAN
from knownat.errors import ReleaseError
from knownat.scoring.scorer import same_values
from knownat.scoring.transforms import load_transform, run_transform
from training.dataset import Dataset, Vector
from training.examples import EVENT_TIMESTAMP, LABEL, LABEL_TIMESTAMP
from training.fit import Fitted
from training.frame import Joined
from training.reference import make_reference
from training.split import Rows, evenly

LEARNING = "learning.json"
"""The validation side's loss after each round."""

GOLDEN_ROWS = 200
SAMPLE_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Model:
    """A fitted model and everything it was fitted to."""

    spec: ModelSpec
    joined: Joined
    data: Dataset
    fitted: Fitted
    scores: Vector


def write_contents(folder: Path, model: Model, golden: pa.Table) -> None:
    """Write a model, its read plan and transforms, its golden rows, samples and profile."""
    classes = model.scores.shape[1] if model.scores.ndim == 2 else 0
    plan, names = model.joined.plan.model_copy(update={"classes": classes}), model.data.schema.names
    (folder / MODEL).write_bytes(model.fitted.model)
    (folder / PLAN).write_text(plan.model_dump_json(indent=2))
    for transform in plan.transforms:
        target = folder / transform.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(model.joined.sources[transform.file])
    pq.write_table(golden, folder / GOLDEN)
    answers = [EVENT_TIMESTAMP, LABEL, LABEL_TIMESTAMP]
    pq.write_table(_sample(model, model.data.fold.fit, [*answers, *names]), folder / BASELINE)
    asked = [*model.spec.examples.keys, *model.spec.examples.inputs]
    pq.write_table(_sample(model, model.data.fold.test, [*asked, *answers, *names]), folder / HOLDOUT)
    (folder / LEARNING).write_text(json.dumps(model.fitted.learning, indent=1))
    write_reference(make_reference(model.joined, model.data, model.scores, model.spec), folder)


def golden_rows(model: Model) -> pa.Table:
    """Pick rows evenly over the test side: stored values, inputs, all that Feast made of them, the score."""
    picked = evenly(model.data.fold.test, GOLDEN_ROWS)
    rows, frame = model.joined.rows.take(picked), model.joined.frame.take(picked)
    plan = model.joined.plan
    columns = {view.column(f.name): rows[view.column(f.name)] for view in plan.views for f in view.features}
    columns |= {i.name: frame[i.name] for i in plan.request_inputs}
    columns |= {name: frame[name] for name in plan.output_columns}
    columns["score"] = _scores(model.scores[picked])
    return pa.table(columns)


def prove_transforms(joined: Joined, golden: pa.Table) -> None:
    """Refuse on-demand bodies that give, alone, other values than they gave inside Feast.

    Raises
    ------
    ReleaseError
        If a value differs; see :func:`unlike_in_feast`.
    """
    if found := unlike_in_feast(joined, golden):
        raise ReleaseError(
            f"On-demand features {found} give other values alone than in Feast. "
            "Their bodies must treat None and NaN alike and use nothing but their inputs."
        )


def unlike_in_feast(joined: Joined, golden: pa.Table) -> list[str]:
    """Run each pinned on-demand body alone and name the features that come out otherwise than in Feast.

    None equals NaN, everything else is compared exactly.
    """
    columns = {name: golden[name].to_pylist() for name in golden.column_names}
    found = []
    for transform in joined.plan.transforms:
        loaded = load_transform(transform, joined.sources[transform.file])
        made = run_transform(loaded, columns)
        found += [name for name, values in made.items() if not same_values(values, columns[name])]
    return found


def _sample(model: Model, rows: Rows, names: list[str]) -> pa.Table:
    picked = evenly(rows, SAMPLE_ROWS)
    table = model.joined.frame.select(names).take(picked)
    return table.append_column("score", _scores(model.scores[picked]))


def _scores(scores: Vector) -> pa.Array:
    return pa.array(scores if scores.ndim == 1 else scores.tolist())
