"""Feast's online store in a Redis that many machines share.

In ``feature_store.yaml``::

    online_store:
      type: knownat.stores.redis_online.RedisOnlineStore
      connection_string: cache.example.org:6379,ssl=true,password=${REDIS_PASSWORD}
"""

from typing import Literal

from feast.repo_config import RepoConfig
from pydantic import PositiveFloat, StrictStr
from typing_extensions import override

from knownat.stores.packed_online import PackedOnlineStore, PackedOnlineStoreConfig
from knownat.stores.redis_address import redis_url
from knownat.stores.redis_rows import RedisRows


class RedisOnlineStoreConfig(PackedOnlineStoreConfig):
    """Where Redis is, and how long a caller waits for it."""

    type: Literal["knownat.stores.redis_online.RedisOnlineStore"] = (
        "knownat.stores.redis_online.RedisOnlineStore"
    )
    connection_string: StrictStr = "localhost:6379"
    """As Feast writes it, ``host:port,db=0,ssl=true,password=...``, or a ``redis://`` URL."""
    socket_seconds: PositiveFloat = 0.05
    """What one connect or one wait on the socket may take on a read."""
    read_deadline_seconds: PositiveFloat = 0.1
    """What a whole read may take."""
    write_deadline_seconds: PositiveFloat = 10.0
    """What one batch may take."""


class RedisOnlineStore(PackedOnlineStore):
    """Feast's online store over :class:`RedisRows`."""

    @override
    def _open(self, config: RepoConfig, *, create: bool) -> RedisRows:
        settings = config.online_store
        return RedisRows(
            redis_url(settings.connection_string),
            socket_seconds=settings.socket_seconds,
            read_deadline_seconds=settings.read_deadline_seconds,
            write_deadline_seconds=settings.write_deadline_seconds,
        )

    @override
    async def close(self) -> None:
        """Let go of every connection, also those of the running event loop."""
        opened = self._opened
        if opened is not None and isinstance(rows := opened[1], RedisRows):
            await rows.close_async()
        await super().close()
