"""The online stores that tests put under a repo: ours, and Feast's own as the ones of others."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from knownat.contract.read_plan import ReadPlan, ReadResult
from knownat.stores.online import open_reader
from knownat.stores.repo import Repo
from tests.stores.packed.redis_server import RedisServer

# A busy machine is no fault: deadlines are tested in tests/faults.
PATIENT = {"socket_seconds": 10, "read_deadline_seconds": 10}

LMDB: Mapping[str, object] = {
    "type": "knownat.stores.lmdb_online.LmdbOnlineStore",
    "path": "data/online_rows",
}
FEAST_SQLITE: Mapping[str, object] = {"type": "sqlite", "path": "data/online_store.db"}


def ours_in_redis(server: RedisServer) -> Mapping[str, object]:
    kind = "knownat.stores.redis_online.RedisOnlineStore"
    return {"type": kind, "connection_string": f"127.0.0.1:{server.port}", **PATIENT}


def feasts_in_redis(server: RedisServer) -> Mapping[str, object]:
    return {"type": "redis", "connection_string": f"127.0.0.1:{server.port},db=2"}


def use_online_store(repo: Path, online: Mapping[str, object]) -> Path:
    """Name another online store in the settings of an applied repo."""
    file = repo / "feature_store.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"online_store": dict(online)}))
    return repo


def read(repo: Repo, plan: ReadPlan, now_us: int, **keys: object) -> ReadResult:
    """Read one entity, or several, as a scorer would."""
    asked = {name: value if isinstance(value, list) else [value] for name, value in keys.items()}
    return open_reader(repo, plan).read(asked, now_us)
