"""What features cost to keep and to serve: bytes of an online row, and CPU time to read or to make them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from knownat.contract.read_plan import PlanView
from knownat.scoring.transforms import Transform, load_transform
from knownat.stores.codec import RowSchema
from knownat.stores.codec_read import RowDecoder
from knownat.stores.codec_write import encode_rows
from training.frame import Joined
from training.split import evenly

_ROWS = 1_000
_RUNS = 5


@dataclass(frozen=True)
class Upkeep:
    """Of one view: mean bytes of a stored row, 0 if it is made on demand, and microseconds a question."""

    bytes_a_row: float
    us_a_row: float

    def minus(self, less: "Upkeep") -> "Upkeep":
        """Return what is saved by going down to ``less``; noise can make no cost negative."""
        return Upkeep(self.bytes_a_row - less.bytes_a_row, max(0.0, self.us_a_row - less.us_a_row))


def measure_upkeep(joined: Joined) -> dict[str, Upkeep]:
    """Measure every view of a model's read plan, and every stored feature, on up to a thousand rows.

    Of a feature it is what its view would save without it; of one made on demand, the whole body's cost.
    Times are CPU times of one row alone, as it is served, the best of five runs: decoding a packed row,
    or running the body of an on-demand view.
    """
    rows = joined.rows.take(pa.array(evenly(np.arange(joined.rows.num_rows), _ROWS)))
    found = {}
    for view in joined.plan.views:
        names = [feature.name for feature in view.features]
        found[view.name] = whole = _stored(view, rows, names)
        for name in names:
            less = _stored(view, rows, [other for other in names if other != name])
            found[view.column(name)] = whole.minus(less)
    columns = {name: rows[name].to_pylist() for name in rows.column_names}
    for transform in joined.plan.transforms:
        loaded = load_transform(transform, joined.sources[transform.file])
        cost = Upkeep(0.0, _on_demand(loaded, columns))
        found |= dict.fromkeys((transform.name, *(transform.column(o.name) for o in transform.outputs)), cost)
    return found


def _stored(view: PlanView, rows: pa.Table, names: Sequence[str]) -> Upkeep:
    if not names:
        return Upkeep(0.0, 0.0)
    features = {feature.name: feature.dtype for feature in view.features if feature.name in names}
    schema = RowSchema.of(keys={}, features=features)
    table = rows.select([view.column(name) for name in features]).rename_columns([*features])
    nothing = np.zeros(len(rows), dtype=np.int64)
    packed = encode_rows(schema, table, keys=[b""] * len(rows), event_us=nothing, created_us=nothing)
    decoder = RowDecoder(schema, schema.features)
    return Upkeep(
        float(np.mean([len(row) for row in packed])),
        _microseconds(decoder.values, [(row,) for row in packed]),
    )


def _on_demand(loaded: Transform, columns: dict[str, list[object]]) -> float:
    rows = len(next(iter(columns.values())))
    asked = [({argument: [columns[column][i]] for argument, column in loaded.reads},) for i in range(rows)]
    return _microseconds(loaded.call, asked)


def _microseconds(call: Callable[..., object], each: Sequence[tuple[object, ...]]) -> float:
    def run() -> float:
        started = time.process_time()
        for arguments in each:
            call(*arguments)
        return time.process_time() - started

    return min(run() for _ in range(_RUNS)) / len(each) * 1e6
