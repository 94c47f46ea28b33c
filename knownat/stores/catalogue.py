"""Every feature of a repo as an entry: what it means, whose it is, what it is made of, who builds on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from feast.entity import Entity
from feast.feature_view import DUMMY_ENTITY_NAME, FeatureView
from feast.on_demand_feature_view import OnDemandFeatureView

from knownat.contract.workspace import Workspace
from knownat.stores.added_definition import PRIVATE, SHARING, definition_files
from knownat.stores.consumers import Consumer, find_consumers
from knownat.stores.definitions import find_definitions
from knownat.stores.feature_names import unit_of, window_of
from knownat.stores.lineage import Origin, trace
from knownat.stores.repo import Repo
from knownat.stores.services import arrow_type, request_sources, stored_sources

STORED, ON_DEMAND = "stored", "on demand"


@dataclass(frozen=True, kw_only=True)
class FeatureEntry:
    """One feature; ``unit`` and ``window`` are read from its tags and its name."""

    view: str
    name: str
    dtype: str
    description: str
    unit: str | None
    window: str | None
    tags: Mapping[str, str]

    @property
    def reference(self) -> str:
        """How it is asked for."""
        return f"{self.view}:{self.name}"

    @property
    def column(self) -> str:
        """What it is called in a frame, a log and a model."""
        return f"{self.view}__{self.name}"


@dataclass(frozen=True, kw_only=True)
class ViewEntry:
    """One view with its features, its origin and those who build on it."""

    name: str
    kind: str
    description: str
    owner: str
    sharing: str
    tags: Mapping[str, str]
    entities: Mapping[str, str]
    """Entity names and their descriptions."""
    keys: tuple[str, ...]
    ttl: str
    online: bool
    features: tuple[FeatureEntry, ...]
    place: str
    """File and line of its definition."""
    origin: Origin
    consumers: tuple[Consumer, ...]

    @property
    def people(self) -> tuple[str, ...]:
        """Whom to tell before it changes: the owners of whatever builds on it, and its own."""
        return tuple(sorted({who for who in (self.owner, *(c.owner for c in self.consumers)) if who}))

    def users_of(self, feature: str) -> tuple[Consumer, ...]:
        """Who builds on one feature."""
        return tuple(consumer for consumer in self.consumers if feature in consumer.features)


@dataclass(frozen=True)
class Catalogue:
    """Every view of a repo, by name."""

    project: str
    views: tuple[ViewEntry, ...]

    @property
    def features(self) -> list[FeatureEntry]:
        """Every feature, view by view."""
        return [feature for view in self.views for feature in view.features]

    def view(self, name: str) -> ViewEntry | None:
        """Look a view up."""
        return next((view for view in self.views if view.name == name), None)


def read_catalogue(repo: Repo) -> Catalogue:
    """Read what the registry, the models' declarations and the deployment say; no table is opened.

    Raises
    ------
    RepoError
        If a view cannot be understood.
    """
    store = repo.store
    entities = {entity.name: entity for entity in store.list_entities()}
    consumers = find_consumers(Workspace.at(repo.path), store)
    places = _places(repo.path)
    stored = [*store.list_batch_feature_views(), *store.list_stream_feature_views()]
    views = [_stored(repo, view, entities, consumers, places) for view in stored]
    views += [_on_demand(view, consumers, places) for view in store.list_on_demand_feature_views()]
    return Catalogue(store.project, tuple(sorted(views, key=lambda view: view.name)))


def _stored(
    repo: Repo,
    view: FeatureView,
    entities: Mapping[str, Entity],
    consumers: Mapping[str, Sequence[Consumer]],
    places: Mapping[str, str],
) -> ViewEntry:
    used = [entities[name] for name in view.entities if name != DUMMY_ENTITY_NAME]
    return ViewEntry(
        name=view.name,
        kind=STORED,
        description=view.description,
        owner=view.owner,
        sharing=view.tags.get(SHARING, "shared"),
        tags=dict(view.tags),
        entities={entity.name: entity.description for entity in used},
        keys=tuple(entity.join_key for entity in used),
        ttl=_span(view.ttl),
        online=view.online,
        features=_features(view),
        place=places.get(view.name, ""),
        origin=trace(repo, view),
        consumers=tuple(consumers.get(view.name, ())),
    )


def _on_demand(
    view: OnDemandFeatureView, consumers: Mapping[str, Sequence[Consumer]], places: Mapping[str, str]
) -> ViewEntry:
    sources = [source.name_alias or source.name for source in stored_sources(view)]
    inputs = [field.name for request in request_sources(view) for field in request.schema]
    return ViewEntry(
        name=view.name,
        kind=ON_DEMAND,
        description=view.description,
        owner=view.owner,
        sharing=view.tags.get(SHARING, "shared"),
        tags=dict(view.tags),
        entities={},
        keys=(),
        ttl="computed when it is asked for",
        online=True,
        features=_features(view),
        place=places.get(view.name, ""),
        origin=Origin(views=tuple(sources), inputs=tuple(inputs)),
        consumers=tuple(consumers.get(view.name, ())),
    )


def _features(view: FeatureView | OnDemandFeatureView) -> tuple[FeatureEntry, ...]:
    return tuple(
        FeatureEntry(
            view=view.name,
            name=field.name,
            dtype=str(arrow_type(field.dtype)),
            description=field.description or "",
            unit=(field.tags or {}).get("unit") or unit_of(field.name),
            window=window_of(field.name),
            tags=dict(field.tags or {}),
        )
        for field in view.features
    )


def _places(repo: Path) -> dict[str, str]:
    found: Iterable[tuple[str, str]] = (
        (item.definition.name, item.place)
        for item in find_definitions(definition_files(repo), repo)
        if item.definition and item.definition.kind in ("feature view", "on-demand view")
    )
    return dict(found)


def _span(ttl: timedelta | None) -> str:
    if not ttl:
        return "none: a row is true until the next one"
    hours = ttl / timedelta(hours=1)
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h"


def is_private(view: ViewEntry) -> bool:
    """Whether only its owner may build on it."""
    return view.sharing == PRIVATE
