"""A workspace of a parcel model without Feast: one view on LMDB, an on-demand view, a category, nulls."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from fastapi import FastAPI

from knownat.clock import FixedClock
from knownat.contract.release import (
    Deployed,
    Deployment,
    ModelDeployment,
    Release,
    write_deployment,
)
from knownat.contract.workspace import Workspace
from knownat.stores.codec import RowSchema
from knownat.stores.lmdb_rows import open_lmdb
from knownat.stores.packed_write import write_table
from knownat.stores.row_keys import ViewName
from serving.access import Access
from serving.app import Parts, create_apps
from serving.features import open_feature_store
from serving.loading import ReleaseLoader
from serving.models import ServedModels
from serving.prediction_ids import open_prediction_ids
from serving.prediction_log import LogBook
from serving.pressure import Pressure
from tests.scoring.small_release import publish_small
from tests.serving.asking import ask

MODEL = "late_parcel"
NOW_US = 1_709_294_400_000_000  # 2024-03-01 12:00 UTC
HOUR_US = 3_600_000_000
ALWAYS = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}
ROWS = {
    1: {"parcels_count_1d": 40, "delay_mean_min_1d": 52.5, "region": "south"},
    2: {"parcels_count_1d": 0, "delay_mean_min_1d": 3.0, "region": "north"},
    3: {"parcels_count_1d": None, "delay_mean_min_1d": None, "region": "islands"},
}
_SETTINGS = """\
project: parcels
provider: local
registry: {registry_type: sql, path: sqlite:///data/registry.db}
offline_store: {type: duckdb}
online_store:
  type: knownat.stores.lmdb_online.LmdbOnlineStore
  path: data/online_rows
"""


@dataclass(frozen=True)
class Parcels:
    """The workspace, and its releases by version."""

    workspace: Workspace
    releases: dict[str, Release]

    def publish(self, version: str, **changes: object) -> Release:
        """Publish one more version, which serves nowhere yet."""
        self.releases[version] = publish_small(self.workspace.releases, version, **changes)
        return self.releases[version]

    def deploy(self, champion: str, **others: object) -> None:
        """Let versions serve."""
        serving = ModelDeployment(champion=self.deployed(champion), **others)
        write_deployment(self.workspace.deployment, Deployment(models={MODEL: serving}))

    def deployed(self, version: str) -> Deployed:
        return Deployed(version=version, digest=self.releases[version].digest)


def make_parcels(folder: Path, **changes: object) -> Parcels:
    """Lay out a workspace that serves version 1, its rows an hour old; ``changes`` are the release's."""
    repo = folder / "repo"
    (repo / "data").mkdir(parents=True)
    (repo / "feature_store.yaml").write_text(_SETTINGS)
    parcels = Parcels(Workspace.at(repo), {})
    parcels.publish("1", **changes)
    parcels.deploy("1")
    store = open_lmdb(repo / "data" / "online_rows")
    types = {"parcels_count_1d": "int64", "delay_mean_min_1d": "float64", "region": "string"}
    times = pa.array([NOW_US - HOUR_US] * len(ROWS), pa.timestamp("us", tz="UTC"))
    columns = {name: [row[name] for row in ROWS.values()] for name in types}
    table = pa.table({"depot_id": [*ROWS], **columns, "event_timestamp": times, "created_timestamp": times})
    view = ViewName("parcels", "depot")
    schema = RowSchema.of(keys={"depot_id": "int64"}, features=types)
    write_table(store, view, schema, table, now_us=NOW_US)
    store.set_watermark(view, NOW_US)
    store.close()
    return parcels


@dataclass
class Asked:
    """The public app over a workspace, and the clock it reads."""

    app: FastAPI
    clock: FixedClock
    parcels: Parcels
    book: LogBook

    def predict(self, depot: int | None = 1, weight: float = 7.0, *, query: str = "", path: str = ""):
        path = path or f"/v1/models/{MODEL}/predict"
        body = {"keys": {"depot_id": depot}, "inputs": {"weight_kg": weight}}
        return ask(self.app, "POST", path + query, json=body)

    def post(self, path: str, **given: object):
        return ask(self.app, "POST", path, **given)

    def get(self, path: str, **given: object):
        return ask(self.app, "GET", path, **given)

    def predicted(self, **given: object) -> str:
        """Ask for a prediction and return its id."""
        return str(self.predict(**given).json()["predictions"][0]["prediction_id"])


@contextmanager
def asking(
    parcels: Parcels, *, keys: Path | None = None, pressure: Pressure | None = None
) -> Iterator[Asked]:
    """Build the apps over a workspace, in this process."""
    workspace, clock = parcels.workspace, FixedClock(NOW_US)
    book = LogBook(workspace.predictions)
    loader = ReleaseLoader(
        workspace.releases, open_feature_store(workspace.repo), book, trial=lambda path, digest: None
    )
    models = ServedModels(workspace.deployment, loader)
    models.refresh()
    assert models.problems == {}
    ids = open_prediction_ids(workspace.predictions, book.writer)
    app, _ = create_apps(
        Parts(models, book, ids, clock, Access(keys, clock), pressure=pressure or Pressure())
    )
    try:
        yield Asked(app, clock, parcels, book)
    finally:
        book.close()
