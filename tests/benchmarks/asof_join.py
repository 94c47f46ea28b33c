"""The as-of join beside its peers: ``python -m tests.benchmarks.asof_join [--size 10k|100k|1M|100M]``.

Ours is asked through Feast's API with the created cut-off on. Feast's own duckdb store and the raw
joins of Polars, DuckDB and pandas ignore the created times: they answer an easier question, which ours
is asked in the same run too. Polars and DuckDB are also taught the cut-off. All answers to one
question are compared value for value, and some of them with a pairing of every row and question.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.asof_data import Shape, read_shape, write
from tests.benchmarks.asof_volume import Volume
from tests.benchmarks.contenders import Measured, measure
from tests.benchmarks.table import Line, record

PEERS = "tests.benchmarks.asof_peers:"
OURS = "knownat.stores.offline.AsOfOfflineStore"
COUNTS = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000}
VOLUMES = {"100M": Volume(keys=200_000, events=478, questions=10_000_000)}
FEAST = "Feast's duckdb store"


@dataclass(frozen=True)
class Contender:
    """Who, by which function, how often after the first time."""

    name: str
    function: str
    options: dict[str, object]
    repeat: int = 3
    created_cutoff: bool = False

    @property
    def who(self) -> str:
        """The name, and which question it answers."""
        return f"{self.name}, cut-off {'on' if self.created_cutoff else 'off'}"


CONTENDERS = (
    Contender(FEAST, "feast_store", {"offline_store": "duckdb"}, repeat=1),
    Contender("knownat through Feast", "feast_store", {"offline_store": OURS}),
    Contender("Polars join_asof", "polars_asof", {}),
    Contender("DuckDB ASOF JOIN", "duckdb_asof", {}),
    Contender("pandas merge_asof", "pandas_asof", {}),
    Contender("knownat through Feast", "feast_store", {"offline_store": OURS}, created_cutoff=True),
    Contender("Polars join_asof", "polars_asof", {}, created_cutoff=True),
    Contender("DuckDB ASOF JOIN", "duckdb_asof", {}, created_cutoff=True),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=[*COUNTS, *VOLUMES], action="append")
    chosen = parser.parse_args(arguments).size or [*COUNTS, *VOLUMES]
    for size, count in COUNTS.items():
        if size in chosen:
            for views in (1, 3, 6):
                compare(size, Shape(examples=count, rows=count, views=views))
            compare(size, Shape(examples=count, rows=count, views=6, keys="zipf"))
    for size, volume in VOLUMES.items():
        if size in chosen:
            check_volume(size, volume)


def compare(size: str, shape: Shape) -> None:
    """Measure every contender on data of one shape."""
    work = f"as-of join, {shape.views} x {shape.features} features, {shape.keys} keys"
    with tempfile.TemporaryDirectory(prefix="knownat-bench-") as folder:
        home = Path(folder)
        write(home, shape)
        measured: dict[str, Measured] = {}
        answers: dict[bool, pl.DataFrame] = {}
        for contender in CONTENDERS:
            if contender.name == FEAST and not _feast_can(shape):
                continue
            save, cutoff = home / "answer.parquet", contender.created_cutoff
            function, repeat = PEERS + contender.function, contender.repeat
            measured[contender.who] = measure(
                function, repeat=repeat, save=save, folder=folder, created_cutoff=cutoff, **contender.options
            )
            found = _in_order(pq.read_table(save), shape)
            if not answers.setdefault(cutoff, found).equals(found):
                raise SystemExit(f"{contender.who} disagrees at {size}, {work}.")
        _check_sample(home, answers[True])
        _record(work, size, measured)


def check_volume(size: str, volume: Volume) -> None:
    """Join more rows than fit into memory, and check every answer by its formula."""
    with tempfile.TemporaryDirectory(prefix="knownat-bench-") as folder:
        home = Path(folder)
        rows = volume.write_rows(home / "rows.parquet")
        measured = measure(PEERS + "feast_saved", repeat=0, folder=folder, **asdict(volume))
        with pq.ParquetFile(home / "answers.parquet") as answers:
            right, wrong, present = volume.wrong(answers.iter_batches(1 << 20))
    if wrong or not present:
        raise SystemExit(f"{wrong} of {volume.questions} answers are wrong; {right} are right.")
    work = f"as-of join of {rows:,} rows, {volume.questions:,} examples saved as Parquet"
    line: Line = {
        "work": f"{work}; {right:,} answers right by formula, {present:,} of them with values",
        "size": size,
        "who": "knownat through Feast, cut-off on",
        "cpu_seconds": measured.cold_cpu,
        "peak_mb": measured.peak_mb,
        "start_mb": measured.start_mb,
        "ratio": None,
    }
    record([line])


def _feast_can(shape: Shape) -> bool:
    # It pairs every row of a key with every question about it, and a quarter of both have one key.
    return shape.keys == "uniform" or shape.examples <= COUNTS["10k"]


def _record(work: str, size: str, measured: dict[str, Measured]) -> None:
    lines: list[Line] = []
    for temper in ("cold", "warm"):
        costs = {who: m.cold_cpu if temper == "cold" else m.warm_cpu for who, m in measured.items()}
        peer = costs.get(f"{FEAST}, cut-off off")
        lines += [
            {
                "work": f"{work}, {temper}",
                "size": size,
                "who": who,
                "cpu_seconds": cost,
                "peak_mb": measured[who].peak_mb,
                "start_mb": measured[who].start_mb,
                "ratio": peer / cost if peer else None,
            }
            for who, cost in costs.items()
        ]
    record(lines)


def _in_order(found: pa.Table, shape: Shape) -> pl.DataFrame:
    keys = ["entity", "event_timestamp", "label"]
    features = [name for view in shape.view_names() for name in shape.feature_names(view)]
    times = pl.col("event_timestamp").cast(pl.Datetime("us", "UTC"))
    # pandas has NaN for null; no feature here is NaN by itself.
    return pl.DataFrame(found.select([*keys, *features])).with_columns(times).fill_nan(None).sort(keys)


def _check_sample(home: Path, found: pl.DataFrame) -> None:
    """Compare some answers with the cut-off on with what pairing every row with every question says."""
    shape = read_shape(home)
    some = found.sample(200, seed=7).with_row_index("question")
    asked, fresh = pl.col("event_timestamp"), timedelta(days=shape.ttl_days)
    for view in shape.view_names():
        rows = pl.read_parquet(home / f"{view}.parquet").rename({"event_timestamp": "happened"})
        names = shape.feature_names(view)
        newest = (
            some.select("question", "entity", "event_timestamp")
            .join(rows, on="entity")
            .filter(pl.col("happened") <= asked, pl.col("created_timestamp") <= asked)
            .sort("happened", "created_timestamp")
            .group_by("question")
            .last()
            .filter(pl.col("happened") >= asked - fresh)
        )
        expected = some.select("question").join(newest, on="question", how="left", maintain_order="left")
        if not expected.select(names).equals(some.select(names)):
            raise SystemExit(f"{view}: answers with the cut-off on are wrong.")


if __name__ == "__main__":
    main()
