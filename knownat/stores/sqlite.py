"""Feast's SQLite online store with the guards it lacks.

Feast's own keeps times by the process's time zone and without fractions of a second, lets an
older row replace a newer one, and blocks readers while it writes. This one keeps both times of a
row in exact microseconds as two more values of it, writes only what is not older than what is
there, and lets readers go on.

In ``feature_store.yaml`` (``type: sqlite`` is opened as this one too)::

    online_store:
      type: knownat.stores.sqlite.GuardedSqliteOnlineStore
      path: data/online_store.db
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from feast.feature_view import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.infra.online_stores.vector_store import VectorStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import StrictStr
from typing_extensions import override

from knownat.clock import SystemClock, from_us, to_us
from knownat.errors import RepoError
from knownat.stores.tables import CREATED_US, EVENT_US

OnlineRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
StoredRow = tuple[datetime | None, dict[str, Value] | None]

CLOCK_SKEW_US = 1_000_000
_CHUNK = 10_000


class GuardedSqliteOnlineStoreConfig(FeastConfigBaseModel, VectorStoreConfig):
    """Configuration of the guarded store: the settings of Feast's own."""

    type: Literal["knownat.stores.sqlite.GuardedSqliteOnlineStore"] = (
        "knownat.stores.sqlite.GuardedSqliteOnlineStore"
    )
    path: StrictStr = "data/online_store.db"
    text_search_enabled: bool = False
    enable_openai_compatible_store: bool = False


class GuardedSqliteOnlineStore(SqliteOnlineStore):
    """SQLite rows that know when they happened and when they became known."""

    @override
    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        fresh = self._conn is None
        connection: sqlite3.Connection = super()._get_conn(config)
        if fresh:
            # Readers go on while a batch is written, and see all of it or nothing.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @override
    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[OnlineRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows that are not older than those in place, in one transaction.

        Raises
        ------
        RepoError
            If a row is later than now: it would block its entity for ever.
        """
        newest: dict[bytes, tuple[tuple[int, int], OnlineRow]] = {}
        for row in data:
            times = _times(row)
            key = _stored_key(row[0], config)
            if key not in newest or times >= newest[key][0]:
                newest[key] = times, row
        _refuse_future(table.name, [times for times, _ in newest.values()])
        in_place = self._stored_times(config, table, list(newest))
        rows = [
            (row[0], row[1] | _as_values(times), row[2], row[3])
            for key, (times, row) in newest.items()
            if key not in in_place or times >= in_place[key]
        ]
        super().online_write_batch(config, table, rows, progress)

    @override
    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[StoredRow]:
        """Read rows with their exact event time; ``EVENT_US`` and ``CREATED_US`` are among the values."""
        rows: list[StoredRow] = super().online_read(config, table, entity_keys, requested_features)
        return [
            (from_us(values[EVENT_US].int64_val) if values and EVENT_US in values else stored, values)
            for stored, values in rows
        ]

    def _stored_times(
        self, config: RepoConfig, view: FeatureView, keys: Sequence[bytes]
    ) -> Mapping[bytes, tuple[int, int]]:
        name = compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning)
        quoted = '"' + name.replace('"', '""') + '"'
        found: dict[bytes, dict[str, int]] = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            rows = self._get_conn(config).execute(
                f"SELECT entity_key, feature_name, value FROM {quoted} WHERE feature_name IN (?, ?) "
                f"AND entity_key IN ({','.join('?' * len(chunk))})",
                (EVENT_US, CREATED_US, *chunk),
            )
            for key, feature, value in rows:
                found.setdefault(key, {})[feature] = Value.FromString(value).int64_val
        return {key: (times[EVENT_US], times[CREATED_US]) for key, times in found.items()}


def _times(row: OnlineRow) -> tuple[int, int]:
    event = to_us(_aware(row[2]))
    return event, event if row[3] is None else to_us(_aware(row[3]))


def _aware(when: datetime) -> datetime:
    # Feast passes both kinds; without a zone it means UTC.
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _as_values(times: tuple[int, int]) -> dict[str, Value]:
    return {EVENT_US: Value(int64_val=times[0]), CREATED_US: Value(int64_val=times[1])}


def _stored_key(key: EntityKey, config: RepoConfig) -> bytes:
    return serialize_entity_key(key, config.entity_key_serialization_version)


def _refuse_future(view: str, times: Sequence[tuple[int, int]]) -> None:
    latest = SystemClock().now_us() + CLOCK_SKEW_US
    if late := [max(pair) for pair in times if max(pair) > latest]:
        raise RepoError(
            f"View '{view}': {len(late)} rows are later than now, the latest of {from_us(max(late))}. "
            "Nothing was written; correct their times."
        )
