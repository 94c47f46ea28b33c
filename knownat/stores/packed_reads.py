"""Reads of Feast's API on packed rows: one round trip, ttl applied, keys never converted."""

import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from feast import FeatureService, FeatureView
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.online_response import OnlineResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from typing_extensions import override

from knownat.clock import CLOCK_SKEW_US, Clock, from_us, open_clock
from knownat.contract.read_plan import Status
from knownat.errors import ConfigError
from knownat.stores.feast_response import Read, add_to_response, check_entity_rows, view_keys_of
from knownat.stores.feast_types import DeclaredView, row_schema
from knownat.stores.feast_values import key_columns
from knownat.stores.packed_views import FOREVER, Answer, Asked, ViewReader
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowStore

StoredRow = tuple[datetime | None, dict[str, Value] | None]
Questions = list[tuple[FeatureView, list[str]]]
Asking = list[tuple[FeatureView, ViewReader, Asked]]
Rows = Sequence[bytes | None]

_MOST_READERS = 512
_MICROSECOND = timedelta(microseconds=1)


class PackedReads(OnlineStore):
    """The reading half of a Feast online store over a :class:`RowStore`."""

    _versioned_read_supported = True

    def __init__(self) -> None:
        self._opening = threading.Lock()
        self._opened: tuple[int, RowStore] | None = None
        self._clocks: dict[str, Clock] = {}
        self._readers: dict[tuple[object, ...], ViewReader] = {}

    @abstractmethod
    def _open(self, config: RepoConfig, *, create: bool) -> RowStore:
        """Open the rows; ``create`` is False where a store that is not there must not look empty."""

    def row_store(self, config: RepoConfig, *, create: bool = False) -> RowStore:
        """Return the packed rows beneath, opened once a process.

        Raises
        ------
        StoreUnavailable
            If they are not there and ``create`` is False.
        """
        opened = self._opened
        # What a parent process opened is not this one's: neither a map nor a socket survives a fork.
        if opened is not None and opened[0] == os.getpid():
            return opened[1]
        with self._opening:
            if self._opened is None or self._opened[0] != os.getpid():
                rows = self._open(config, create=create)
                weakref.finalize(self, _close, os.getpid(), rows)
                self._readers = {}
                self._opened = os.getpid(), rows
            return self._opened[1]

    def clock(self, config: RepoConfig) -> Clock:
        """Return the clock that the configuration names; a relative file is the repo's.

        Raises
        ------
        ConfigError
            If it names none.
        """
        spec = config.online_store.clock
        if (known := self._clocks.get(spec)) is not None:
            return known
        kind, _, path = spec.partition(":")
        try:
            clock = open_clock(f"{kind}:{in_repo(config, path)}" if path else spec)
        except (ValueError, OSError) as error:
            raise ConfigError("feature_store.yaml, online_store.clock", [str(error)]) from error
        return self._clocks.setdefault(spec, clock)

    @contextmanager
    def at(self, config: RepoConfig, clock: Clock) -> Iterator[None]:
        """Let another clock say what is now, for one who compares; every reader of this store is told."""
        spec, usual = config.online_store.clock, self.clock(config)
        self._clocks[spec] = clock
        try:
            yield
        finally:
            self._clocks[spec] = usual

    @override
    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[StoredRow]:
        """Read a view: ``(None, None)`` for an unknown entity, ``(event time, None)`` for an expired row.

        Raises
        ------
        BadKey
            If an entity has other keys than the view, or of another type.
        StoreUnavailable, CorruptRow, UnknownSchema, SchemaMismatch
            If there is no answer to rely on.
        """
        reader, asked = self._ask(config, table, entity_keys, requested_features)
        rows = self.row_store(config).read(asked.keys)
        return _stored_rows(reader, asked, self._answer(config, table, reader, asked, rows))

    @override
    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[StoredRow]:
        """Do as :meth:`online_read` does, on an event loop."""
        reader, asked = self._ask(config, table, entity_keys, requested_features)
        rows = await self.row_store(config).read_async(asked.keys)
        return _stored_rows(reader, asked, self._answer(config, table, reader, asked, rows))

    @override
    def get_online_features(
        self,
        config: RepoConfig,
        features: list[str] | FeatureService,
        entity_rows: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """Read features as Feast does; keys are not converted, and what is expired is null.

        Raises
        ------
        BadKey
            If a key is of another type than declared; Feast would read 1.5 and ``True`` as entity 1.
        """
        check_entity_rows(registry, project, features, entity_rows, full_feature_names)
        return super().get_online_features(
            config,
            _live(features),
            entity_rows,
            registry,
            project,
            full_feature_names,
            include_feature_view_version_metadata,
        )

    @override
    async def get_online_features_async(
        self,
        config: RepoConfig,
        features: list[str] | FeatureService,
        entity_rows: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """Do as :meth:`get_online_features` does, on an event loop."""
        check_entity_rows(registry, project, features, entity_rows, full_feature_names)
        return await super().get_online_features_async(
            config,
            _live(features),
            entity_rows,
            registry,
            project,
            full_feature_names,
            include_feature_view_version_metadata,
        )

    @override
    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: Questions,
        join_key_values: Mapping[str, Sequence[Value]],
        entity_name_to_join_key_map: Mapping[str, str],
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        asked = self._ask_all(config, grouped_refs, join_key_values)
        rows = self.row_store(config).read([key for _, _, question in asked for key in question.keys])
        for read in self._reads(config, asked, rows):
            add_to_response(
                online_features_response, read, full_feature_names, include_feature_view_version_metadata
            )

    @override
    async def _read_features_per_fv_async(
        self,
        config: RepoConfig,
        grouped_refs: Questions,
        join_key_values: Mapping[str, Sequence[Value]],
        entity_name_to_join_key_map: Mapping[str, str],
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        asked = self._ask_all(config, grouped_refs, join_key_values)
        keys = [key for _, _, question in asked for key in question.keys]
        rows = await self.row_store(config).read_async(keys)
        for read in self._reads(config, asked, rows):
            add_to_response(
                online_features_response, read, full_feature_names, include_feature_view_version_metadata
            )

    @override
    async def initialize(self, config: RepoConfig) -> None:
        """Open the rows, so that what is wrong shows before the first question."""
        self.row_store(config)

    @override
    async def close(self) -> None:
        """Let go of files and connections; the next call opens them again."""
        opened, self._opened, self._readers = self._opened, None, {}
        if opened is not None:
            _close(*opened)

    def _ask(
        self,
        config: RepoConfig,
        view: FeatureView,
        entities: Sequence[EntityKey],
        features: Sequence[str] | None,
    ) -> tuple[ViewReader, Asked]:
        reader = self._reader(config, view, features)
        columns = key_columns(view.name, reader.keys, entities)
        return reader, reader.ask(columns, len(entities))

    def _ask_all(
        self, config: RepoConfig, questions: Questions, keys: Mapping[str, Sequence[Value]]
    ) -> Asking:
        asked: Asking = []
        for view, features in questions:
            reader = self._reader(config, view, features)
            asked.append((view, reader, reader.ask(*view_keys_of(view, reader.keys, keys))))
        return asked

    def _reads(self, config: RepoConfig, asked: Asking, rows: Rows) -> Iterator[Read]:
        first = 0
        for view, reader, question in asked:
            some = rows[first : first + len(question.keys)]
            first += len(question.keys)
            answer = self._answer(config, view, reader, question, some)
            yield Read(view, reader.features, answer, question.places)

    def _answer(
        self, config: RepoConfig, view: FeatureView, reader: ViewReader, asked: Asked, rows: Rows
    ) -> Answer:
        # On-demand and some other views have none.
        ttl: timedelta | None = getattr(view, "ttl", None)
        now_us = self.clock(config).now_us()
        oldest = now_us - ttl // _MICROSECOND if ttl else FOREVER
        return reader.answer(asked.keys, rows, oldest_us=oldest, latest_us=now_us + CLOCK_SKEW_US)

    def _reader(self, config: RepoConfig, view: DeclaredView, features: Sequence[str] | None) -> ViewReader:
        rows, name, schema = self.row_store(config), view_name(config, view), row_schema(view)
        wanted = tuple(field.name for field in view.features) if features is None else tuple(features)
        # A reader knows the schemas of the rows it met, so it is kept.
        key = name, schema.fingerprint, wanted
        if (known := self._readers.get(key)) is None:
            if len(self._readers) >= _MOST_READERS:
                self._readers = {}
            known = self._readers[key] = ViewReader(rows, name, schema, wanted)
        return known


def view_name(config: RepoConfig, view: DeclaredView) -> ViewName:
    """Return where a view's rows are: its project's, apart from views of the same name elsewhere."""
    versioned = config.registry.enable_online_feature_view_versioning
    return ViewName(config.project, compute_versioned_name(view, versioned))


def in_repo(config: RepoConfig, path: str) -> Path:
    """Return an absolute path, a relative one taken from the repo's folder.

    Raises
    ------
    ConfigError
        If it is relative and there is no repo: the working folder would be another store each time.
    """
    given = Path(path).expanduser()
    if given.is_absolute():
        return given
    if config.repo_path is None:
        raise ConfigError("online_store", [f"the path '{path}' is relative and there is no repo folder"])
    return Path(config.repo_path).absolute() / given


def _live(features: list[str] | FeatureService) -> list[str] | FeatureService:
    """Ask for the rows themselves, also where a service prefers vectors made beforehand."""
    if not isinstance(features, FeatureService) or not features.precompute_online:
        return features
    live = copy(features)
    live.precompute_online = False
    return live


def _stored_rows(reader: ViewReader, asked: Asked, answer: Answer) -> list[StoredRow]:
    rows: list[StoredRow] = []
    for place in asked.places:
        us = answer.event_us[place]
        values = None
        if answer.status[place] is Status.PRESENT:
            found = (column[place] for column in answer.columns)
            values = dict(zip(reader.features, found, strict=True))
        rows.append((None if us is None else from_us(us), values))
    return rows


def _close(pid: int, rows: RowStore) -> None:
    if pid == os.getpid():
        rows.close()
