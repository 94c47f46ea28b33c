"""Bring the online store up to a time, by what became visible since the last time.

Each view's watermark is in the online store itself and is written after the rows it vouches for: a
killed run leaves rows without it, which the next run writes again to no effect, and a store that
was deleted has no watermark left that would claim it is full.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore
from feast.infra.online_stores.online_store import OnlineStore
from feast.repo_config import RepoConfig

from knownat.clock import CLOCK_SKEW_US, Clock, SystemClock, from_us, to_us
from knownat.errors import RepoError
from knownat.stores.newest_rows import NewestRows
from knownat.stores.repo import Repo
from knownat.stores.sources import exclusive, feature_table
from knownat.stores.targets import Mark, Target, open_target

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Told of a view: how many entities were written since it was last told, of how many in all."""

BEGINNING = from_us(0)


@dataclass(frozen=True)
class Materialized:
    """One view's step: every row that became visible in (start, end] has been considered."""

    view: str
    start: datetime
    end: datetime
    rows: int
    """Entities with a row that became visible."""


@runtime_checkable
class FindsNewest(Protocol):
    """An offline store that finds the newest rows by itself, as one on a cluster does.

    What :func:`knownat.stores.newest_rows.newest_rows` promises, it must keep.
    """

    def newest_rows(
        self, config: RepoConfig, view: FeatureView, *, since_us: int | None, until_us: int
    ) -> NewestRows:
        """Find the newest of the rows that became visible in (since, until], a row an entity."""
        ...


@dataclass(frozen=True)
class Stores:
    """What a run reads and what it writes."""

    config: RepoConfig
    offline: OfflineStore
    target: Target


def materialize(
    repo: Repo,
    *,
    until: datetime,
    views: Sequence[str] | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> list[Materialized]:
    """Write, for every entity with a row that became visible since its view's watermark, its newest.

    A view that was never materialized, or whose features, keys or source changed, starts from the
    beginning. Nothing that is not visible at ``until`` is written.

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
    with _opened(repo) as stores:
        marks = {view.name: stores.target.mark(view) for view in chosen}
        if ahead := [name for name, mark in marks.items() if mark is not None and mark.until_us > end]:
            raise RepoError(
                f"Cannot materialize until {until.isoformat()}: views {ahead} are already further. "
                "The online store only goes forward; to start again, clear it (`clear_online`)."
            )
        return [advance_view(stores, view, until_us=end, progress=progress) for view in chosen]


def advance_view(
    stores: Stores,
    view: FeatureView,
    *,
    until_us: int,
    from_scratch: bool = False,
    progress: Progress | None = None,
) -> Materialized:
    """Bring one view up to a time; one that is already further stays as it is.

    ``from_scratch`` considers every visible row again, whatever the watermark says.
    """
    mark, shape = stores.target.mark(view), _shape(view)
    since = None
    if mark is not None:
        if mark.shape == shape and not from_scratch:
            since = mark.until_us
        elif not from_scratch:
            _log.warning("View '%s' changed since it was materialized: it starts again.", view.name)
        # A watermark never goes back, so whatever it covers must be in.
        until_us = max(until_us, mark.until_us)
    begun, end = BEGINNING if since is None else from_us(since), from_us(until_us)
    if since == until_us:
        return Materialized(view.name, begun, end, 0)
    found = _find(stores, view, since, until_us)
    report = progress or _say_nothing
    report(view.name, 0, found.entities)
    for batch in found.batches:
        stores.target.write(
            view,
            batch,
            until_us=until_us,
            advance=lambda rows: report(view.name, rows, found.entities),
        )
    stores.target.set_mark(view, Mark(until_us, shape))
    return Materialized(view.name, begun, end, found.entities)


@contextmanager
def open_stores(config: RepoConfig, offline: OfflineStore, online: OnlineStore) -> Iterator[Stores]:
    """Open what a run needs, one run of a repo at a time; a second one on this machine waits."""
    folder = Path(config.repo_path or ".") / "data"
    folder.mkdir(exist_ok=True)
    with exclusive(folder / ".materialize.lock"):
        yield Stores(config, offline, open_target(online, config))


def watermarks(repo: Repo) -> dict[str, datetime]:
    """Tell up to when each view has been materialized; a view that never was is left out.

    Raises
    ------
    StoreUnavailable
        If the online store is not there, or does not answer.
    """
    target = open_target(repo.store.provider.online_store, repo.store.config, create=False)
    marks = {view.name: (target.mark(view), _shape(view)) for view in online_views(repo)}
    return {
        name: from_us(mark.until_us)
        for name, (mark, shape) in marks.items()
        if mark is not None and mark.shape == shape
    }


def clear_online(repo: Repo, *, only: Sequence[str] | None = None) -> None:
    """Empty the online store, or some of its views, so that the next step starts from the beginning."""
    views = _choose(repo, only)
    with _opened(repo):
        repo.store.provider.update_infra(repo.store.project, views, [], [], [], partial=True)
        repo.store.provider.update_infra(repo.store.project, [], views, [], [], partial=True)


def online_views(repo: Repo) -> list[FeatureView]:
    """List the views that have online rows, by name."""
    views = [*repo.store.list_batch_feature_views(), *repo.store.list_stream_feature_views()]
    return sorted((view for view in views if view.online), key=lambda view: view.name)


def _opened(repo: Repo) -> AbstractContextManager[Stores]:
    provider = repo.store.provider
    return open_stores(repo.store.config, provider.offline_store, provider.online_store)


def _choose(repo: Repo, names: Sequence[str] | None) -> list[FeatureView]:
    have = {view.name: view for view in online_views(repo)}
    if unknown := [name for name in names or () if name not in have]:
        raise RepoError(f"There are no online views {unknown}; the registry has {sorted(have)}.")
    return list(have.values()) if names is None else [have[name] for name in names]


def _find(stores: Stores, view: FeatureView, since_us: int | None, until_us: int) -> NewestRows:
    if isinstance(stores.offline, FindsNewest):
        # A store that lets an older row win must get the newest of all rows, not of the new ones.
        since_us = since_us if stores.target.keeps_newest else None
        return stores.offline.newest_rows(stores.config, view, since_us=since_us, until_us=until_us)
    return stores.target.find(feature_table(view, stores.config), since_us=since_us, until_us=until_us)


def _shape(view: FeatureView) -> bytes:
    """Fingerprint what the rows of a view are made of; another one means to start again."""
    source = view.batch_source
    if source is None:
        raise RepoError(f"View '{view.name}' has no batch source; give it one.")
    parts = [f"{field.name}:{field.dtype}" for field in [*view.entity_columns, *view.features]]
    made_from = source.to_proto()
    for words in ("description", "owner", "tags", "meta"):
        made_from.ClearField(words)
    parts.append(made_from.SerializeToString(deterministic=True).hex())
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _say_nothing(view: str, rows: int, entities: int) -> None:
    del view, rows, entities
