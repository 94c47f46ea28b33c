"""A store's limit of memory: a table beyond it is read in slices, and answers as it would at once."""

import logging
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Int64
from pydantic import ValidationError

from knownat.stores.offline import AsOfOfflineStoreConfig
from tests.benchmarks.asof_volume import TTL_US, VALUES, Volume
from tests.stores.made_store import make_store

VOLUME = Volume(keys=1_000, events=300, questions=20_000)


@pytest.mark.parametrize(("limit_mb", "slices"), [(2_000, 0), (16, 3)])
def test_a_table_beyond_the_limit_is_read_in_slices_and_answers_the_same(
    tmp_path: Path, limit_mb: int, slices: int, caplog: pytest.LogCaptureFixture
) -> None:
    VOLUME.write_rows(tmp_path / "rows.parquet")
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    view = FeatureView(
        name="volume",
        entities=[entity],
        ttl=timedelta(microseconds=TTL_US),
        schema=[Field(name=name, dtype=Int64) for name in VALUES],
        source=FileSource(
            path="rows.parquet",
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
    )
    store = make_store(tmp_path, entity, view, memory_limit_mb=limit_mb)
    caplog.set_level(logging.INFO, logger="knownat.stores.search")
    found = store.get_historical_features(
        VOLUME.ask().to_pandas(), [f"volume:{name}" for name in VALUES], filter_by_created_timestamp=True
    ).to_arrow()
    right, wrong, present = VOLUME.wrong(iter(found.to_batches()))
    assert (right, wrong) == (VOLUME.questions, 0)
    assert present > VOLUME.questions // 2
    told = [record.getMessage() for record in caplog.records]
    assert [f"in {slices} slices" in message for message in told] == [True] * bool(slices)


def test_a_limit_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="memory_limit_mb"):
        AsOfOfflineStoreConfig(memory_limit_mb=0)


def test_the_store_loads_no_database_before_a_query_is_asked() -> None:
    program = "import sys, knownat.stores.offline; print('duckdb' in sys.modules)"
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert asked.stdout == "False\n"
