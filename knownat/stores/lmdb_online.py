"""Feast's online store in a folder of this machine: LMDB, many reading processes beside one writer.

In ``feature_store.yaml``::

    online_store:
      type: knownat.stores.lmdb_online.LmdbOnlineStore
      path: data/online_rows
"""

from collections.abc import Sequence
from typing import Literal

from feast import Entity
from feast.repo_config import RepoConfig
from pydantic import PositiveInt, StrictStr
from typing_extensions import override

from knownat.errors import StoreUnavailable
from knownat.stores.feast_types import DeclaredView
from knownat.stores.lmdb_rows import FIRST_MAP_BYTES, LmdbRows, open_lmdb
from knownat.stores.packed_online import PackedOnlineStore, PackedOnlineStoreConfig
from knownat.stores.packed_reads import in_repo


class LmdbOnlineStoreConfig(PackedOnlineStoreConfig):
    """Where the folder is, and how large its map may become."""

    type: Literal["knownat.stores.lmdb_online.LmdbOnlineStore"] = "knownat.stores.lmdb_online.LmdbOnlineStore"
    path: StrictStr = "data/online_rows"
    """A folder, relative to the repo's."""
    map_bytes: PositiveInt = FIRST_MAP_BYTES
    """Address space, not disk: it doubles when it is full."""
    most_map_bytes: PositiveInt | None = None
    """What it may not grow beyond."""


class LmdbOnlineStore(PackedOnlineStore):
    """Feast's online store over :class:`LmdbRows`."""

    @override
    def _open(self, config: RepoConfig, *, create: bool) -> LmdbRows:
        settings = config.online_store
        path = in_repo(config, settings.path)
        if not create and not (path / "data.mdb").exists():
            raise StoreUnavailable(
                f"There is no online store in {path}. Apply the repo and materialize its views, or correct "
                "online_store.path."
            )
        return open_lmdb(path, map_bytes=settings.map_bytes, most_map_bytes=settings.most_map_bytes)

    @override
    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[DeclaredView],
        tables_to_keep: Sequence[DeclaredView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make the folder if it is not there, and delete the rows of views that are gone."""
        self.row_store(config, create=True)
        super().update(
            config, tables_to_delete, tables_to_keep, entities_to_delete, entities_to_keep, partial
        )
