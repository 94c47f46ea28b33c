"""Read online rows through Feast, with the promises its own reads do not make.

Keys are checked before the read and never coerced, the ttl is applied as offline, and the status
of a row follows from its values and times, not from what the store says about it.
"""

import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from feast.feature_view import FeatureView
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType

from knownat.clock import CLOCK_SKEW_US, to_us
from knownat.contract.read_plan import FeatureReader, PlanView, ReadPlan, ReadResult, Status, check_keys
from knownat.errors import RepoError
from knownat.stores.materialization import watermarks
from knownat.stores.online_rows import entity_key, from_value, key_types
from knownat.stores.packed_online import PackedOnlineStore
from knownat.stores.packed_read import PackedReader
from knownat.stores.repo import Repo
from knownat.stores.services import take_apart
from knownat.stores.tables import CREATED_US, EVENT_US

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Source:
    plan: PlanView
    view: FeatureView
    types: Mapping[str, ValueType]


@dataclass(frozen=True)
class _Row:
    """One entity's row as it is stored; the empty one stands for none."""

    values: Mapping[str, object]
    event_us: int | None = None
    created_us: int | None = None


_NO_ROW = _Row({})


def open_reader(repo: Repo, plan: ReadPlan) -> FeatureReader:
    """Return what reads a plan from the repo's online store: packed rows directly, any other through Feast.

    Raises
    ------
    RepoError
        If a view of the plan was never materialized into a store that is none of ours.
    StoreUnavailable
        If an embedded store is not there.
    """
    store = repo.store.provider.online_store
    if isinstance(store, PackedOnlineStore):
        return PackedReader(store.row_store(repo.store.config), plan)
    return FeastReader(repo, plan)


class FeastReader:
    """Reads the views of one plan from the repo's online store.

    Raises
    ------
    RepoError
        If a view of the plan is not registered or was never materialized.
    """

    def __init__(self, repo: Repo, plan: ReadPlan) -> None:
        self._store = repo.store
        self._plan = plan
        used = {view.name: view.view for view in take_apart(repo.store, plan.feature_service).views}
        filled = watermarks(repo)
        if missing := [v.name for v in plan.views if v.name not in used or used[v.name].name not in filled]:
            raise RepoError(f"Views {missing} have no online rows. Run `knownat materialize`.")
        self._sources = [_Source(v, used[v.name], key_types(used[v.name])) for v in plan.views]

    def read(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read each view's row of n entities, ttl measured at ``now_us``.

        Raises
        ------
        BadKey
            If a key is missing, unknown or not exactly of its type; nothing is read then.
        """
        checked = check_keys(self._plan, keys)
        count = max((len(column) for column in checked.values()), default=0)
        result = ReadResult({}, {}, {}, {})
        for source in self._sources:
            _collect(result, source.plan, self._read_view(source, checked, count), now_us)
        return result

    def _read_view(
        self, source: _Source, keys: Mapping[str, Sequence[str | int | None]], count: int
    ) -> Sequence[_Row | None]:
        """Return each entity's row; None where the store could not be asked."""
        by_view_key = {key.view_key: keys[key.request_key] for key in source.plan.keys}
        entities = [tuple(by_view_key[name][i] for name in source.types) for i in range(count)]
        # Many rows of a batch share an origin or a carrier: each is read once.
        distinct = [entity for entity in dict.fromkeys(entities) if None not in entity]
        wanted = [*(feature.name for feature in source.plan.features), EVENT_US, CREATED_US]
        try:
            stored = self._store.provider.online_read(
                self._store.config,
                source.view,
                [entity_key(entity, source.types) for entity in distinct],
                wanted,
            )
        except (sqlite3.OperationalError, ConnectionError, TimeoutError) as error:
            _log.warning("View '%s' cannot be read: %s", source.plan.name, error)
            return [None] * count
        rows = {
            entity: _decode(values, when) for entity, (when, values) in zip(distinct, stored, strict=True)
        }
        # A null key is no entity's, as offline.
        return [rows.get(entity, _NO_ROW) for entity in entities]


def _decode(stored: Mapping[str, Value] | None, when: datetime | None) -> _Row:
    if not stored:
        return _NO_ROW
    values = {name: from_value(value) for name, value in stored.items()}
    event, created = values.pop(EVENT_US, None), values.pop(CREATED_US, None)
    if isinstance(event, int):
        return _Row(values, event, created if isinstance(created, int) else None)
    # Redis answers an unknown entity with nulls of 1970.
    if when is None or (to_us(when) == 0 and all(value is None for value in values.values())):
        return _NO_ROW
    if time.timezone or time.daylight:
        raise RepoError(
            "The online store keeps times by this process's time zone, which is not UTC: ages would be "
            "wrong by hours. Set TZ=UTC, or use knownat's own online store."
        )
    return _Row(values, to_us(when))


def _collect(result: ReadResult, plan: PlanView, rows: Sequence[_Row | None], now_us: int) -> None:
    status = [_status(row, plan.ttl_us, now_us) for row in rows]
    found = [row or _NO_ROW for row in rows]
    for feature in plan.features:
        result.values[plan.column(feature.name)] = [
            row.values.get(feature.name) if state is Status.PRESENT else None
            for row, state in zip(found, status, strict=True)
        ]
    result.event_us[plan.name] = [row.event_us for row in found]
    result.created_us[plan.name] = [row.created_us for row in found]
    result.status[plan.name] = status


def _status(row: _Row | None, ttl_us: int, now_us: int) -> Status:
    if row is None:
        return Status.UNAVAILABLE
    if row.event_us is None:
        return Status.NOT_FOUND
    if max(row.event_us, row.created_us or row.event_us) > now_us + CLOCK_SKEW_US:
        return Status.NOT_YET
    return Status.EXPIRED if ttl_us and row.event_us < now_us - ttl_us else Status.PRESENT
