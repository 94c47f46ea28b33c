"""A prediction log made offline: every question answered from what was known at its own time.

It has the rows that a scorer would have logged had each feature row been written the moment it
became visible, without a scorer to ask: for replays of months that no one wants to wait for.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.contract.prediction_log import LABEL_SCHEMA, Role, prediction_schema
from knownat.contract.release import Release
from knownat.scoring.scorer import Scorer
from knownat.stores.history import replay_frame
from knownat.stores.repo import Repo

ROWS_A_SEGMENT = 20_000


def write_log(
    root: Path,
    release: Release,
    repo: Repo,
    examples: pa.Table,
    *,
    role: Role = Role.CHAMPION,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Answer examples, in order of time, and write their predictions and labels as sealed segments."""
    examples = examples.sort_by("event_timestamp")
    scorer, version = Scorer.load(release), release.manifest.version
    for number, start in enumerate(range(0, examples.num_rows, ROWS_A_SEGMENT)):
        asked = examples.slice(start, ROWS_A_SEGMENT)
        ids = [f"{release.manifest.model}.{version}{role.value}{start + i:010x}.0" for i in range(len(asked))]
        rows = _answer(scorer, repo, asked, ids, role)
        _write(rows, root / release.manifest.model / version, f"{role.value}-{number:05}")
        if role is Role.CHAMPION:
            _write(_labels(asked, ids), root / "labels", f"{release.manifest.model}-{version}-{number:05}")
        progress(min(1.0, (start + ROWS_A_SEGMENT) / examples.num_rows))


def _answer(scorer: Scorer, repo: Repo, asked: pa.Table, ids: list[str], role: Role) -> pa.Table:
    plan, manifest = scorer.plan, scorer.release.manifest
    found = replay_frame(repo, asked, plan, known_at="event_timestamp")
    stored = {view.column(f.name): found[view.column(f.name)] for view in plan.views for f in view.features}
    inputs = {i.name: asked[i.name] for i in plan.request_inputs}
    made = scorer.columns(
        {name: values.to_pylist() for name, values in stored.items()},
        {name: values.to_pylist() for name, values in inputs.items()},
    )
    served = {
        f"served__{view.name}__{what}": found[f"{view.name}__{what}"]
        for view in plan.views
        for what in ("event_timestamp", "created_timestamp", "status")
    }
    absent = np.zeros(len(asked), dtype=np.bool_)
    for view in plan.views:
        absent |= pc.not_equal(found[f"{view.name}__status"], "present").to_numpy()
    values: Mapping[str, object] = {
        **made,
        **stored,
        **served,
        **{f"key__{name}": asked[name] for name in plan.request_keys},
        **{f"input__{name}": column for name, column in inputs.items()},
        "prediction_id": ids,
        "request_id": ids,
        "logged_at": asked["event_timestamp"],
        "event_timestamp": asked["event_timestamp"],
        "model": pa.repeat(manifest.model, len(asked)),
        "version": pa.repeat(manifest.version, len(asked)),
        "role": pa.repeat(role.value, len(asked)),
        "degraded": absent,
        "score": scorer.score({name: made[name] for name in scorer.schema.names}),
        "latency_us": pa.repeat(0, len(asked)),
    }
    schema = prediction_schema(plan)
    return pa.table({field.name: _typed(values[field.name], field.type) for field in schema})


def _typed(values: object, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.cast(kind)
    return pa.array(values, kind, from_pandas=True)


def _labels(asked: pa.Table, ids: list[str]) -> pa.Table:
    known = pc.is_valid(asked["label"])
    table = pa.table(
        {
            "prediction_id": ids,
            "label": asked["label"],
            "label_timestamp": asked["label_timestamp"],
            "logged_at": asked["label_timestamp"],
        }
    )
    return table.filter(known).cast(LABEL_SCHEMA)


def _write(table: pa.Table, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"segment-{name}.parquet", compression="zstd")
