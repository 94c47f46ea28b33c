"""The whole way past one machine, against real servers, chosen by configuration alone."""

import gc
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from knownat.clock import FileClock, FixedClock, to_us
from knownat.contract.log_reader import read_predictions
from knownat.contract.release import Release
from knownat.contract.workspace import Workspace
from knownat.stores.materialization import materialize, watermarks
from knownat.stores.pipelines import build_features
from knownat.stores.repo import Repo, apply_repo, open_repo
from monitoring.skew import replay
from tests.loop.scorer_process import running_scorer
from tests.postgres_server import running_postgres
from tests.spark import open_spark
from tests.stores.packed.redis_server import RedisServer
from tests.training import shop
from training.pipeline import train
from training.promotion import promote

pytestmark = [
    pytest.mark.xdist_group("spark"),
    # Feast never closes a registry's connections; they end with the store, or with the process.
    pytest.mark.filterwarnings("ignore:<psycopg.Connection:ResourceWarning"),
]

ROOT = Path(__file__).parents[2]
MODEL = "return_soon"
NOW = FixedClock(to_us(datetime(2024, 5, 1, tzinfo=UTC)))
FIRST, SECOND = datetime(2024, 4, 1, tzinfo=UTC), datetime(2024, 4, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The shop as it runs on a laptop: features built and applied."""
    repo = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    build_features(repo)
    apply_repo(repo)
    return Workspace.at(repo)


@pytest.fixture(scope="module")
def cluster(embedded: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The same repo under the flights repo's own cluster configuration; only the project's name differs."""
    open_spark()
    folder = tmp_path_factory.mktemp("cluster")
    shipped = (ROOT / "feature_repo" / "feature_store.cluster.yaml").read_text()
    configuration = folder / "feature_store.cluster.yaml"
    configuration.write_text(shipped.replace("project: flights", "project: shop"))
    with RedisServer(folder) as redis, running_postgres() as registry, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KNOWNAT_REGISTRY_URL", registry)
        patch.setenv("KNOWNAT_REDIS", f"127.0.0.1:{redis.port}")
        patch.setenv("KNOWNAT_SPARK_MASTER", "local[2]")
        patch.setenv("FEAST_FS_YAML_FILE_PATH", str(configuration))
        apply_repo(embedded.repo)
        yield embedded
        _let_go_of_the_registry()


def _let_go_of_the_registry() -> None:
    for engine in [thing for thing in gc.get_objects() if isinstance(thing, Engine)]:
        engine.dispose()


@pytest.fixture(scope="module")
def opened(cluster: Workspace) -> Repo:
    return open_repo(cluster.repo)


@pytest.fixture(scope="module")
def released(cluster: Workspace) -> Release:
    release = train(cluster, MODEL, clock=NOW, version="on-spark")
    promote(cluster, MODEL, release.manifest.version, clock=NOW)
    return release


def test_the_configuration_chooses_the_servers(opened: Repo) -> None:
    store = opened.store
    assert type(store.provider.offline_store).__name__ == "SparkAsOfOfflineStore"
    assert type(store.provider.online_store).__name__ == "RedisOnlineStore"
    assert store.config.registry.path.startswith("postgresql+psycopg://")
    assert [view.name for view in store.list_batch_feature_views()] == ["customer_orders"]


def test_training_on_spark_gives_the_same_bytes_as_in_process(
    released: Release, embedded: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEAST_FS_YAML_FILE_PATH")
    here = train(embedded, MODEL, clock=NOW, version="in-process")
    assert here.manifest.metrics == released.manifest.metrics
    for name in set(released.manifest.files) - {"card.html"}:
        assert here.manifest.files[name] == released.manifest.files[name], name


def test_what_is_served_is_what_spark_computes_again(
    cluster: Workspace, opened: Repo, released: Release, tmp_path: Path
) -> None:
    steps = [FIRST, SECOND]
    clock = FileClock(tmp_path / "clock")
    asked = 0
    examples = pq.read_table(cluster.data / "customer_orders.parquet", columns=["customer_id"])
    customers = sorted(set(examples["customer_id"].to_pylist()))[:40]
    clock.move_to(to_us(FIRST))
    materialize(opened, until=FIRST, clock=clock)
    with running_scorer(cluster.repo, clock=tmp_path / "clock", folder=tmp_path) as client:
        for step in steps:
            clock.move_to(to_us(step))
            materialize(opened, until=step, clock=clock)
            clock.move_to(to_us(step + timedelta(hours=1)))
            rows = [{"keys": {"customer_id": customer}, "inputs": {}} for customer in [*customers, 9_999]]
            answer = client.post(f"/v1/models/{MODEL}/predict", {"rows": rows})
            assert isinstance(answer["predictions"], list)
            asked += len(answer["predictions"])
    assert watermarks(opened) == {"customer_orders": SECOND}
    served = read_predictions(
        cluster.predictions, MODEL, start=FIRST - timedelta(days=1), end=SECOND + timedelta(days=1)
    )
    assert served.num_rows == asked == 82
    result = replay(cluster, MODEL, served, steps)
    assert (result.mismatches, result.rows_left_out) == (0, 0)
    assert result.values_compared > 4 * served.num_rows
    assert result.max_score_difference <= 1e-12


def test_the_embedded_registry_is_untouched_by_the_other(
    embedded: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEAST_FS_YAML_FILE_PATH", raising=False)
    assert "FEAST_FS_YAML_FILE_PATH" not in os.environ
    assert len(open_repo(embedded.repo).store.list_batch_feature_views()) == 1
