"""The flights training frame from Spark is the one from this process, bit for bit.

``make test`` asks about the first days of the year, so that few rows can be seen; a soak asks
everything that a model was trained on.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from feast import FeatureStore

from knownat.contract.model_spec import read_spec
from knownat.contract.workspace import Workspace
from knownat.stores.history import historical_frame
from knownat.stores.pipelines import BuiltTable
from knownat.stores.repo import Repo, apply_repo, load_config, open_repo
from tests.soak import scale
from tests.spark import SETTINGS, open_spark
from training.examples import read_examples

pytestmark = pytest.mark.xdist_group("spark")

UNTIL = datetime(scale(2013, 2014), 1, scale(5, 31), tzinfo=UTC)
EXAMPLES = scale(400, 1_000_000)
# Both services ask for the same features of all the views; only their questions differ.
MODELS = ["late_arrival", "minutes_late"][: scale(1, 2)]


@pytest.fixture(scope="module")
def flights(tables: dict[str, BuiltTable], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The flights' definitions, applied over tables that are built already."""
    repo = tmp_path_factory.mktemp("flights") / "feature_repo"
    source = Path(__file__).parents[2] / "feature_repo"
    shutil.copytree(source, repo, ignore=shutil.ignore_patterns("data", "__pycache__"))
    (repo / "data").mkdir()
    built = next(iter(tables.values())).path.parent
    for table in built.iterdir():
        (repo / "data" / table.name).symlink_to(table)
    apply_repo(repo)
    return Workspace.at(repo)


@pytest.fixture(scope="module")
def on_spark(flights: Workspace) -> Repo:
    open_spark()
    config = load_config(flights.repo)
    kind = "knownat.stores.spark_offline.SparkAsOfOfflineStore"
    config.offline_config = {"type": kind, "spark_conf": SETTINGS}
    store = FeatureStore(config=config)
    assert type(store.provider.offline_store).__name__ == "SparkAsOfOfflineStore"
    return Repo(flights.repo, store)


@pytest.mark.parametrize("model", MODELS)
def test_the_training_frame_is_the_same_bit_for_bit(flights: Workspace, on_spark: Repo, model: str) -> None:
    spec = read_spec(flights.model_file(model))
    examples = read_examples(flights, spec)
    asked = examples.filter(
        pc.less(examples["event_timestamp"], pa.scalar(UNTIL, examples["event_timestamp"].type))
    )
    asked = asked.take([*range(0, asked.num_rows, max(1, asked.num_rows // EXAMPLES))])
    here = historical_frame(open_repo(flights.repo), asked, spec.feature_service)
    there = historical_frame(on_spark, asked, spec.feature_service)
    assert here.schema.equals(there.schema)
    assert len(here.column_names) > 100
    assert [name for name in here.column_names if not same_bits(here[name], there[name])] == []
    # Almost every column says something: two empty frames would be equal too.
    assert sum(here[name].null_count < here.num_rows for name in here.column_names) > 100


def same_bits(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    if pa.types.is_floating(left.type):
        # A null stays a null and NaN is NaN; -0.0 is not 0.0.
        left, right = (c.combine_chunks().cast(pa.float64()) for c in (left, right))
        if not left.is_null().equals(right.is_null()):
            return False
        bits = [c.fill_null(0.0).to_numpy(zero_copy_only=False).view("int64") for c in (left, right)]
        return bool((bits[0] == bits[1]).all())
    return bool(left.equals(right))
