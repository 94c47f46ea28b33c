"""Tables and examples for the as-of join: late rows and backfills, uniform or skewed keys."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY_US = 86_400_000_000
START_US = 1_380_000_000_000_000
DAYS = 90
MOMENT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Shape:
    """How large, how many and how skewed."""

    examples: int
    rows: int
    views: int
    features: int = 3
    entities: int = 10_000
    ttl_days: int = 7
    keys: str = "uniform"

    def view_names(self) -> list[str]:
        """Name the views."""
        return [f"view{i}" for i in range(self.views)]

    def feature_names(self, view: str) -> list[str]:
        """Name a view's features; no two views share a name, so that raw joins need no renaming."""
        return [f"{view}_f{i}" for i in range(self.features)]


def write(folder: Path, shape: Shape) -> None:
    """Write the tables, the examples and the shape itself into a folder."""
    random = np.random.default_rng(0)
    for view in shape.view_names():
        pq.write_table(_table(random, shape, view), folder / f"{view}.parquet")
    times = START_US + random.integers(0, DAYS * DAY_US, shape.examples)
    examples = {
        "entity": pa.array(_keys(random, shape, shape.examples)),
        "event_timestamp": pa.array(times).cast(MOMENT),
        "label": pa.array(random.integers(0, 2, shape.examples)),
    }
    pq.write_table(pa.table(examples), folder / "examples.parquet")
    (folder / "shape.json").write_text(json.dumps(asdict(shape)))


def read_shape(folder: Path) -> Shape:
    """Read the shape of a folder's data."""
    return Shape(**json.loads((folder / "shape.json").read_text()))


def _table(random: np.random.Generator, shape: Shape, view: str) -> pa.Table:
    # In the order of events, as pipelines write them. Most rows become known within minutes, one in
    # fifty is backfilled days later.
    event = np.sort(random.integers(0, DAYS * DAY_US, shape.rows)) + START_US
    lag = random.exponential(300e6, shape.rows) + (random.random(shape.rows) < 0.02) * 3 * DAY_US
    columns = {
        "entity": pa.array(_keys(random, shape, shape.rows)),
        "event_timestamp": pa.array(event).cast(MOMENT),
        "created_timestamp": pa.array(event + lag.astype(np.int64)).cast(MOMENT),
    }
    for name in shape.feature_names(view):
        columns[name] = pa.array(random.random(shape.rows))
    return pa.table(columns)


def _keys(random: np.random.Generator, shape: Shape, size: int) -> np.ndarray:
    if shape.keys == "zipf":
        return np.minimum(random.zipf(1.3, size), shape.entities).astype(np.int64)
    return random.integers(0, shape.entities, size)
