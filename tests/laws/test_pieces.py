"""Law 3 where files are read in pieces: a few rows at a time, past the engine's own reader."""

import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knownat.stores import parquet_pieces
from knownat.stores.asof import join_as_of
from knownat.stores.parquet_pieces import Pieces
from knownat.stores.tables import POSITION, FeatureTable
from tests.laws.oracle import Row
from tests.laws.test_asof import LIMITS, SEEDS, TTLS, as_of, check, crowded_questions, frame_of
from tests.soak import scale

TYPES = {"count": "int64", "mean": "float64", "maybe": "int64"}
CHOICES: dict[str, list[Any]] = {
    "count": [-2, 0, 2**53 + 1],
    "mean": [float("nan"), float("-inf"), -0.0, 0.0, 2.0],
    "maybe": [None, 5],
}


@pytest.fixture(autouse=True, scope="module")
def _small_pieces_of_small_files() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_pieces, "_LARGE_FILE", 0)
        patch.setattr(parquet_pieces, "_PIECE_ROWS", 3)
        yield


def history(dice: random.Random) -> list[Row]:
    """Rows in order of their events, so that row groups have bounds that leave some of them out."""
    rows = [
        Row(
            dice.choice([1, 1, 2, None]),
            dice.randrange(-12, 13),
            dice.randrange(-12, 13),
            {name: dice.choice(choices) for name, choices in CHOICES.items()},
        )
        for _ in range(dice.randrange(1, 60))
    ]
    return sorted(rows, key=lambda row: row.event)


def table_of(rows: list[Row], folder: Path, dice: random.Random, unit: Any) -> FeatureTable:
    """Write rows into some files of small row groups; the files name two columns otherwise than the view."""
    schema = {"no": pl.Int64, "happened": pl.Int64, "known": pl.Int64, "count": pl.Int64}
    frame = pl.DataFrame(
        [{"no": r.key, "happened": r.event, "known": r.created, **r.values} for r in rows],
        schema=schema | {"mean": pl.Float64, "maybe": pl.Int64},
    ).with_columns(pl.col("happened", "known").cast(pl.Datetime("us", "UTC")).dt.cast_time_unit(unit))
    size = dice.randrange(1, len(rows) + 1)
    files = [str(folder / f"{at:03}.parquet") for at in range(0, len(rows), size)]
    for at, file in zip(range(0, len(rows), size), files, strict=True):
        frame[at : at + size].rename({"count": "amount"}).write_parquet(
            file, row_group_size=dice.randrange(1, 12), use_pyarrow=True
        )
    origin = pl.scan_parquet(files, glob=False).rename({"no": "entity", "amount": "count"})
    return FeatureTable(
        name="generated",
        rows=origin.with_row_index(POSITION),
        keys=("entity",),
        event="happened",
        created="known",
        features=tuple(TYPES),
        origin=origin,
        pieces=Pieces(tuple(files), origin.collect_schema(), {"entity": "no", "count": "amount"}),
    )


@settings(max_examples=scale(25, 500))
@given(SEEDS, TTLS, LIMITS, st.sampled_from(["us", "ns"]), st.booleans(), st.booleans())
def test_files_in_pieces_answer_as_brute_force(
    seed: int, ttl: int, most_rows: int, unit: str, cutoff: bool, find_expired: bool
) -> None:
    dice = random.Random(seed)
    rows, questions = history(dice), crowded_questions(seed)[: dice.randrange(1, 40)]
    with TemporaryDirectory() as folder:
        table = table_of(rows, Path(folder), dice, unit)
        found, without = (
            join_as_of(
                frame_of(questions),
                one,
                features=tuple(TYPES),
                keys={"entity": "key"},
                event_timestamp="asked",
                known_at="asked",
                ttl_us=ttl,
                created_cutoff=cutoff,
                find_expired=find_expired,
                most_rows=most_rows,
            )
            for one in (table, replace(table, pieces=None))
        )
    assert found.values.equals(without.values)
    expected = [
        as_of(rows, key, types=TYPES, asked=asked, known=asked, ttl=ttl, created_cutoff=cutoff)
        for key, asked, _ in questions
    ]
    check(found, expected if find_expired else [(None if late else row, False) for row, late in expected])
