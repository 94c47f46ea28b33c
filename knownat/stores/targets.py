"""Where materialization writes: packed rows, or any other of Feast's online stores."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import polars as pl
import pyarrow as pa
from feast.feature_view import FeatureView
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig

from knownat.clock import from_us
from knownat.errors import RepoError
from knownat.stores.asof import newest_visible
from knownat.stores.feast_types import packed_table, row_schema
from knownat.stores.newest_rows import NewestRows, newest_rows
from knownat.stores.online_rows import OnlineRow, to_online_rows
from knownat.stores.packed_online import PackedOnlineStore
from knownat.stores.packed_reads import view_name
from knownat.stores.packed_write import write_table
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowStore
from knownat.stores.tables import CREATED_US, EVENT_US, FeatureTable

_MOMENT = pa.timestamp("us", tz="UTC")
_ROWS_AT_ONCE = 10_000
_WATERMARK = EntityKey(join_keys=["__watermark__"], entity_values=[Value(string_val="")])
_UNTIL, _SHAPE = "__until_us", "__shape"

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Mark:
    """Up to when a view's visible rows are in, and what they were made from."""

    until_us: int
    shape: bytes


class Target(Protocol):
    """What materialization needs of an online store."""

    @property
    def keeps_newest(self) -> bool:
        """Whether an older row never replaces a newer one, in whatever order they are written."""
        ...

    def mark(self, view: FeatureView) -> Mark | None:
        """Return how far a view is, or None if nothing was ever written."""
        ...

    def set_mark(self, view: FeatureView, mark: Mark) -> None:
        """Record how far a view is, after its rows."""
        ...

    def find(self, table: FeatureTable, *, since_us: int | None, until_us: int) -> NewestRows:
        """Find the rows this store needs to have the newest of what became visible in (since, until]."""
        ...

    def write(self, view: FeatureView, rows: pl.DataFrame, *, until_us: int, advance: Advance) -> None:
        """Write what was found; a reader sees whole rows only, and writing again changes nothing."""
        ...


@dataclass(frozen=True)
class PackedTarget:
    """LMDB or Redis: rows are encoded straight from Arrow, and the newest wins."""

    rows: RowStore
    config: RepoConfig
    keeps_newest: bool = True

    def mark(self, view: FeatureView) -> Mark | None:
        """Return how far a view is, or None if nothing was ever written."""
        name = self.name(view)
        until_us = self.rows.watermark(name)
        return None if until_us is None else Mark(until_us, self.rows.shape(name))

    def set_mark(self, view: FeatureView, mark: Mark) -> None:
        """Record how far a view is, after its rows."""
        self.rows.set_watermark(self.name(view), mark.until_us, shape=mark.shape)

    def find(self, table: FeatureTable, *, since_us: int | None, until_us: int) -> NewestRows:
        """Find the rows that became visible; what was visible before is in the store already."""
        return newest_rows(table, since_us=since_us, until_us=until_us)

    def write(self, view: FeatureView, rows: pl.DataFrame, *, until_us: int, advance: Advance) -> None:
        """Write what was found; a reader sees whole rows only, and writing again changes nothing."""
        found = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        schema = row_schema(view)
        columns = {field.name: found[field.name] for field in (*schema.keys, *schema.features)}
        times = {name: found[name].cast(_MOMENT) for name in (EVENT_US, CREATED_US)}
        table = packed_table(view, pa.table({**columns, **times}), carried=tuple(times))
        write_table(
            self.rows,
            self.name(view),
            schema,
            table,
            now_us=until_us,
            event=EVENT_US,
            created=CREATED_US,
            progress=advance,
        )

    def name(self, view: FeatureView) -> ViewName:
        """Return where a view's rows are."""
        return view_name(self.config, view)


@dataclass(frozen=True)
class FeastTarget:
    """Any other online store, through Feast's API: a message for every value."""

    store: OnlineStore
    config: RepoConfig
    keeps_newest: bool = False

    def mark(self, view: FeatureView) -> Mark | None:
        """Return how far a view is: a row of its own in the same store, which is lost when that is."""
        try:
            ((_, values),) = self.store.online_read(self.config, view, [_WATERMARK], [_UNTIL, _SHAPE])
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise RepoError(f"The online store cannot be read: {error}.") from error
            self.store.update(self.config, [], [view], [], [], partial=True)
            return None
        if not values or not values[_SHAPE].bytes_val:
            return None
        return Mark(int(values[_UNTIL].int64_val), bytes(values[_SHAPE].bytes_val))

    def set_mark(self, view: FeatureView, mark: Mark) -> None:
        """Record how far a view is, after its rows."""
        when = from_us(mark.until_us)
        values = {_UNTIL: Value(int64_val=mark.until_us), _SHAPE: Value(bytes_val=mark.shape)}
        self._write(view, [(_WATERMARK, values, when, when)])

    def find(self, table: FeatureTable, *, since_us: int | None, until_us: int) -> NewestRows:
        """Find the newest rows; the store may let an older row win, so it gets no other."""
        found = newest_visible(table, since_us=since_us, until_us=until_us)
        return NewestRows(found.height, iter([found]))

    def write(self, view: FeatureView, rows: pl.DataFrame, *, until_us: int, advance: Advance) -> None:
        """Write what was found, as values that carry the row's exact times."""
        del until_us
        for some in rows.iter_slices(_ROWS_AT_ONCE):
            self._write(view, to_online_rows(view, some))
            advance(some.height)

    def _write(self, view: FeatureView, rows: list[OnlineRow]) -> None:
        self.store.online_write_batch(self.config, view, rows, None)


def open_target(store: OnlineStore, config: RepoConfig, *, create: bool = True) -> Target:
    """Return what writes to a repo's online store.

    Raises
    ------
    StoreUnavailable
        If the folder of an embedded store cannot be opened, or is not there and ``create`` is False.
    """
    if isinstance(store, PackedOnlineStore):
        return PackedTarget(store.row_store(config, create=create), config)
    return FeastTarget(store, config)
