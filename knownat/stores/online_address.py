"""Where a repo keeps its packed online rows, read from its settings without Feast.

In ``feature_store.yaml`` either ::

    online_store:
      type: knownat.stores.lmdb_online.LmdbOnlineStore
      path: data/online_rows

or ::

    online_store:
      type: knownat.stores.redis_online.RedisOnlineStore
      connection_string: localhost:6379

with any field of :class:`LmdbAddress` or :class:`RedisAddress` beside it.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knownat.errors import ConfigError, StoreUnavailable
from knownat.stores.rows import RowStore
from knownat.stores.settings import read_settings, settings_file

LMDB_TYPE = "knownat.stores.lmdb_online.LmdbOnlineStore"
REDIS_TYPE = "knownat.stores.redis_online.RedisOnlineStore"
LMDB_PATH = "data/online_rows"


class _Address(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    clock: str = "system"
    """What is now for Feast's own reads; a reader of packed rows is told at each read."""


class LmdbAddress(_Address):
    """A folder of packed rows; the map is address space, not disk, and doubles when full."""

    path: Path
    map_bytes: int = Field(default=1 << 30, ge=1 << 16)
    most_map_bytes: int | None = Field(default=None, ge=1 << 16)


class RedisAddress(_Address):
    """A Redis and how long it may take: one wait for its socket, one whole read, one whole write."""

    connection_string: str = "localhost:6379"
    socket_seconds: float = Field(default=0.05, gt=0)
    read_deadline_seconds: float = Field(default=0.1, gt=0)
    write_deadline_seconds: float = Field(default=10.0, gt=0)


OnlineAddress = LmdbAddress | RedisAddress


def read_address(root: Path) -> OnlineAddress | None:
    """Return where a repo's packed rows are; None if its online store is another one of Feast's.

    Raises
    ------
    ConfigError
        If the repo's settings cannot be read, or a field of its online store cannot be used.
    """
    online = read_settings(root).get("online_store")
    if not isinstance(online, dict):
        return None
    try:
        return parse_address(root, online)
    except ValidationError as error:
        problems = [f"online_store.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(settings_file(root), problems) from error


def parse_address(root: Path, online: dict[str, Any]) -> OnlineAddress | None:
    """Return the address in the settings of an online store; None if it keeps no packed rows.

    Raises
    ------
    pydantic.ValidationError
        If a field cannot be used.
    """
    fields = {name: value for name, value in online.items() if name != "type"}
    if online.get("type") == LMDB_TYPE:
        return LmdbAddress(**{**fields, "path": root / fields.get("path", LMDB_PATH)})
    return RedisAddress(**fields) if online.get("type") == REDIS_TYPE else None


def open_rows(address: OnlineAddress, *, create: bool = False) -> RowStore:
    """Open the store at an address. Redis is connected to by the first call, not here.

    Raises
    ------
    StoreUnavailable
        If an embedded store is not there and ``create`` is False, or its folder cannot be opened.
    ConfigError
        If the address names no Redis.
    """
    if isinstance(address, LmdbAddress):
        from knownat.stores.lmdb_rows import open_lmdb

        # Looking for a store must not make an empty one, which would look like a store without rows.
        if not create and not (address.path / "data.mdb").exists():
            raise StoreUnavailable(
                f"There is no online store in {address.path}. Apply the repo and materialize its views, or "
                "correct online_store.path."
            )
        return open_lmdb(address.path, map_bytes=address.map_bytes, most_map_bytes=address.most_map_bytes)
    from knownat.stores.redis_address import redis_url
    from knownat.stores.redis_rows import RedisRows

    return RedisRows(
        redis_url(address.connection_string),
        socket_seconds=address.socket_seconds,
        read_deadline_seconds=address.read_deadline_seconds,
        write_deadline_seconds=address.write_deadline_seconds,
    )
