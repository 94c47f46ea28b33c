"""Feast's online store on packed rows, whatever holds them; ``lmdb_online`` and ``redis_online`` open it.

Beyond what Feast's own stores do: the newest row by (event, created, tie) wins in whatever order rows
come; a row from the future is refused by name; a ttl is applied on reads, by the store's clock; keys
are never converted; all views of a question are read in one round trip.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from feast import Entity
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import StrictStr
from typing_extensions import override

from knownat.errors import EarlyRows
from knownat.stores.feast_rows import OnlineRow, arrow_rows
from knownat.stores.feast_types import TIMES, DeclaredView, packed_table, row_schema
from knownat.stores.packed_reads import PackedReads, view_name
from knownat.stores.packed_write import Written, write_table


class PackedOnlineStoreConfig(FeastConfigBaseModel):
    """What both stores are told."""

    clock: StrictStr = "system"
    """What is now, for ttl and for rows from the future: ``system``, or ``file:PATH`` in a replay."""


class PackedOnlineStore(PackedReads):
    """A Feast online store over a :class:`RowStore`."""

    @property
    @override
    def async_supported(self) -> SupportedAsyncMethods:
        return SupportedAsyncMethods(read=True, write=True)

    def write_arrow(
        self,
        config: RepoConfig,
        view: DeclaredView,
        table: pa.Table,
        *,
        event: str = TIMES[0],
        created: str | None = TIMES[1],
        progress: Callable[[int], None] | None = None,
    ) -> Written:
        """Write a table of a view's rows, cast exactly, in any order: the newest of each key stays.

        ``created`` None means that a row was known when it happened.

        Raises
        ------
        SchemaMismatch
            If columns are missing, unknown or do not fit; nothing is written.
        BadKey
            If a key column is of another type than declared.
        StoreFull, StoreUnavailable
            If the store cannot take them. Writing them again is safe.
        """
        carried = [name for name in (event, created) if name is not None]
        packed = packed_table(view, table, carried=carried)
        return self.write_packed(config, view, packed, event=event, created=created, progress=progress)

    def write_packed(
        self,
        config: RepoConfig,
        view: DeclaredView,
        table: pa.Table,
        *,
        event: str = TIMES[0],
        created: str | None = TIMES[1],
        progress: Callable[[int], None] | None = None,
    ) -> Written:
        """Write a table whose columns are already as :func:`packed_table` makes them.

        Raises
        ------
        SchemaMismatch, BadKey, StoreFull, StoreUnavailable
            As :meth:`write_arrow` does.
        """
        return write_table(
            self.row_store(config, create=True),
            view_name(config, view),
            row_schema(view),
            table,
            now_us=self.clock(config).now_us(),
            event=event,
            created=created,
            progress=progress,
        )

    @override
    def online_write_batch(
        self,
        config: RepoConfig,
        table: DeclaredView | OnDemandFeatureView,
        data: Sequence[OnlineRow],
        progress: Callable[[int], Any] | None = None,
    ) -> None:
        """Write Feast's rows in any order, any number of times: the newest of each key stays.

        Raises
        ------
        SchemaMismatch
            If rows lack features, have unknown ones, or values of another kind; nothing is written.
        BadKey
            If rows have other join keys than the view.
        EarlyRows
            If some are later than now by over a second; the others are written.
        StoreFull, StoreUnavailable
            If the store cannot take them. Writing them again is safe.
        """
        if not data:
            return
        now_us = self.clock(config).now_us()
        name, schema = view_name(config, table), row_schema(table)
        # A row of an on-demand view happens when it is written; Feast stamps it by the machine's clock.
        stamped = now_us if isinstance(table, OnDemandFeatureView) else None
        rows = arrow_rows(table, schema, data, stamped_us=stamped)
        written = write_table(self.row_store(config, create=True), name, schema, rows, now_us=now_us)
        if progress is not None:
            progress(len(data))
        if written.early:
            raise EarlyRows(str(name), written.early, written.stored + written.outranked)

    @override
    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: DeclaredView | OnDemandFeatureView,
        data: Sequence[OnlineRow],
        progress: Callable[[int], Any] | None = None,
    ) -> None:
        """Do as :meth:`online_write_batch` does, away from the event loop."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

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
        """Delete the rows of views that are gone; whatever stays keeps its rows."""
        for view in tables_to_delete:
            self.row_store(config, create=True).delete_view(view_name(config, view))

    @override
    def teardown(
        self, config: RepoConfig, tables: Sequence[DeclaredView], entities: Sequence[Entity]
    ) -> None:
        """Delete everything of the project; other projects in the same store stay."""
        self.row_store(config, create=True).delete_project(config.project)

    @override
    def write_precomputed_vector(self, *_: Any, **__: Any) -> None:
        """Write nothing: a vector made beforehand would outlive ttl and miss newer rows."""
