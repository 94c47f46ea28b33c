"""A history whose every answer follows from a formula, joined whole and in slices."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from knownat.stores.asof import join_as_of
from knownat.stores.tables import FeatureTable
from tests.benchmarks.asof_volume import TTL_US, VALUES, Volume
from tests.soak import scale


@pytest.mark.parametrize("most_rows", [10**8, 20_000, 700])
def test_every_answer_is_the_one_the_formula_says(tmp_path: Path, most_rows: int) -> None:
    volume = Volume(keys=scale(400, 20_000), events=50, questions=scale(30_000, 1_000_000))
    written = volume.write_rows(tmp_path / "rows.parquet", keys_at_once=150)
    assert written > volume.keys * volume.events  # corrections and doubles come on top
    table = FeatureTable(
        name="volume",
        rows=pl.scan_parquet(tmp_path / "rows.parquet"),
        keys=("entity",),
        event="event_timestamp",
        created="created_timestamp",
        features=VALUES,
    )
    asked = volume.ask()
    found = join_as_of(
        pl.DataFrame(asked),
        table,
        features=VALUES,
        keys={"entity": "entity"},
        event_timestamp="event_timestamp",
        ttl_us=TTL_US,
        most_rows=most_rows,
    )
    values = found.values.to_arrow(compat_level=pl.CompatLevel.oldest())
    answers = pa.table([*asked.columns, *values.columns], [*asked.column_names, *values.column_names])
    right, wrong, present = volume.wrong(iter(answers.to_batches()))
    assert (right, wrong) == (volume.questions, 0)
    assert volume.questions // 2 < present < volume.questions
