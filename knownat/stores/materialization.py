"""Bring the online store up to a time, by what became visible since the last time.

Each view's watermark is a row of its own in the online store, written together with the rows it
vouches for: a killed run leaves both or neither, and a store that was deleted has no watermark
left that would claim it is full.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from feast.feature_view import FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from knownat.clock import Clock, SystemClock, from_us, to_us
from knownat.errors import RepoError
from knownat.stores.asof import newest_visible
from knownat.stores.online_rows import to_online_rows
from knownat.stores.repo import Repo
from knownat.stores.sources import exclusive, feature_table, source_path
from knownat.stores.sqlite import CLOCK_SKEW_US, OnlineRow

Progress = Callable[[str], None]

BEGINNING = from_us(0)
_WATERMARK = EntityKey(join_keys=["__watermark__"], entity_values=[Value(string_val="")])
_UNTIL, _SHAPE = "__until_us", "__shape"


@dataclass(frozen=True)
class Materialized:
    """One view's step: every row that became visible in (start, end] has been considered."""

    view: str
    start: datetime
    end: datetime
    rows: int
    """Entities whose row was written."""


def materialize(
    repo: Repo,
    *,
    until: datetime,
    views: Sequence[str] | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> list[Materialized]:
    """Write, for every entity with a row that became visible since its view's watermark, its newest.

    A view that was never materialized, or whose features changed, starts from the beginning.
    Nothing that is not visible at ``until`` is written.

    Raises
    ------
    RepoError
        If ``until`` is later than now or before a view's watermark, or a view is not known.
    """
    end = to_us(until)
    now = (clock or SystemClock()).now_us()
    if end > now + CLOCK_SKEW_US:
        raise RepoError(
            f"Cannot materialize until {until.isoformat()}: it is only {from_us(now).isoformat()}."
        )
    chosen = _choose(repo, views)
    with exclusive(_lock(repo)):
        starts = {view.name: _start(repo, view) for view in chosen}
        if ahead := [name for name, start in starts.items() if start is not None and start > end]:
            raise RepoError(
                f"Cannot materialize until {until.isoformat()}: views {ahead} are already further. "
                "The online store only goes forward; to start again, clear it (`clear_online`)."
            )
        done = []
        for view in chosen:
            done.append(_step(repo, view, starts[view.name], end))
            if progress:
                progress(view.name)
    return done


def watermarks(repo: Repo) -> dict[str, datetime]:
    """Tell up to when each view has been materialized; a view that never was is left out."""
    marks = {view.name: _start(repo, view) for view in online_views(repo)}
    return {name: from_us(mark) for name, mark in marks.items() if mark is not None}


def clear_online(repo: Repo) -> None:
    """Empty the online store, so that the next step starts from the beginning."""
    views = online_views(repo)
    with exclusive(_lock(repo)):
        repo.store.provider.update_infra(repo.store.project, views, [], [], [], partial=True)
        repo.store.provider.update_infra(repo.store.project, [], views, [], [], partial=True)


def online_views(repo: Repo) -> list[FeatureView]:
    """List the views that have online rows, by name."""
    views = [*repo.store.list_batch_feature_views(), *repo.store.list_stream_feature_views()]
    return sorted((view for view in views if view.online), key=lambda view: view.name)


def _choose(repo: Repo, names: Sequence[str] | None) -> list[FeatureView]:
    have = {view.name: view for view in online_views(repo)}
    if unknown := [name for name in names or () if name not in have]:
        raise RepoError(f"There are no online views {unknown}; the registry has {sorted(have)}.")
    return list(have.values()) if names is None else [have[name] for name in names]


def _step(repo: Repo, view: FeatureView, start: int | None, end: int) -> Materialized:
    begun = BEGINNING if start is None else from_us(start)
    if start == end:
        return Materialized(view.name, begun, from_us(end), 0)
    found = newest_visible(feature_table(view, repo.store.config), since_us=start, until_us=end)
    rows = to_online_rows(view, found)
    store = repo.store
    # The watermark comes last, in the same transaction where the store has them.
    store.provider.online_write_batch(store.config, view, [*rows, _mark(repo, view, end)], progress=None)
    return Materialized(view.name, begun, from_us(end), len(rows))


def _mark(repo: Repo, view: FeatureView, until_us: int) -> OnlineRow:
    when = from_us(until_us)
    values = {_UNTIL: Value(int64_val=until_us), _SHAPE: Value(string_val=_shape(repo, view))}
    return _WATERMARK, values, when, when


def _start(repo: Repo, view: FeatureView) -> int | None:
    store = repo.store
    try:
        ((_, values),) = store.provider.online_read(store.config, view, [_WATERMARK], [_UNTIL, _SHAPE])
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise RepoError(f"The online store cannot be read: {error}.") from error
        store.provider.update_infra(store.project, [], [view], [], [], partial=True)
        return None
    if not values or values[_SHAPE].string_val != _shape(repo, view):
        return None
    return int(values[_UNTIL].int64_val)


def _shape(repo: Repo, view: FeatureView) -> str:
    """Fingerprint what the rows of a view are made of; another one means to start again."""
    source = view.batch_source
    if source is None:
        raise RepoError(f"View '{view.name}' has no batch source; give it a FileSource.")
    parts = [f"{field.name}:{field.dtype}" for field in [*view.entity_columns, *view.features]]
    parts += [source.timestamp_field, source.created_timestamp_column or ""]
    parts += [str(source_path(source, repo.store.config)), str(sorted(source.field_mapping.items()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _lock(repo: Repo) -> Path:
    folder = repo.path / "data"
    folder.mkdir(exist_ok=True)
    return folder / ".materialize.lock"
