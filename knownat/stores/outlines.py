"""What a registry promises, in plain values that can be compared: views, services and who owns them."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from feast.base_feature_view import BaseFeatureView
from feast.data_source import DataSource
from feast.feature_service import FeatureService
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.on_demand_feature_view import OnDemandFeatureView

from knownat.stores.online_rows import key_types
from knownat.stores.repo import Repo
from knownat.stores.sources import ttl_microseconds

Kind = Literal["feature view", "on-demand view"]


@dataclass(frozen=True, kw_only=True)
class ViewOutline:
    """One view: what it is keyed by, what it holds, how long that counts, and where it comes from."""

    name: str
    kind: Kind
    owner: str = ""
    fields: Mapping[str, str]
    """Name -> declared type."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Join key -> declared type."""
    ttl_us: int = 0
    online: bool = True
    source: Mapping[str, str] = field(default_factory=dict)
    """Where its rows are read from, part by part."""
    body: str = ""
    """What an on-demand view computes, without comments or layout."""
    inputs: tuple[str, ...] = ()
    """What an on-demand view reads: stored views by name, and what a request brings, with its type."""


@dataclass(frozen=True, kw_only=True)
class ServiceOutline:
    """One feature service: the columns it promises, in order, and the views they come from."""

    name: str
    owner: str = ""
    columns: tuple[str, ...]
    views: frozenset[str]
    """Its own views and those that its on-demand views read."""


@dataclass(frozen=True)
class Outline:
    """Everything a registry promises."""

    views: Mapping[str, ViewOutline]
    services: Mapping[str, ServiceOutline]


def outline(repo: Repo) -> Outline:
    """Outline what an opened repo's registry holds."""
    store = repo.store
    stored = [*store.list_batch_feature_views(), *store.list_stream_feature_views()]
    on_demand = store.list_on_demand_feature_views()
    views = {view.name: _stored(view, repo.path) for view in stored} | {
        v.name: _on_demand(v) for v in on_demand
    }
    reads = {view.name: _read_views(view) for view in on_demand}
    services = (_service(service, reads) for service in store.list_feature_services())
    return Outline(views, {service.name: service for service in services})


def _stored(view: FeatureView, root: Path) -> ViewOutline:
    return ViewOutline(
        name=view.name,
        kind="feature view",
        owner=view.owner,
        fields=_fields(view),
        keys={key: kind.name for key, kind in key_types(view).items()},
        ttl_us=ttl_microseconds(view),
        online=bool(view.online),
        source=_source(view.batch_source, root) if view.batch_source else {},
    )


def _on_demand(view: OnDemandFeatureView) -> ViewOutline:
    # A field of a source view is that view's own matter: one more there changes nothing here.
    inputs = [f"view {source.name}" for source in view.source_feature_view_projections.values()]
    inputs += [
        f"{each.name} {each.dtype}"
        for request in view.source_request_sources.values()
        for each in request.schema
    ]
    text = getattr(view.feature_transformation, "udf_string", "") or ""
    return ViewOutline(
        name=view.name,
        kind="on-demand view",
        owner=view.owner,
        fields=_fields(view),
        body=plain_body(text),
        inputs=tuple(sorted(inputs)),
    )


def plain_body(source: str) -> str:
    r"""Say what a function computes, whatever its comments, its layout and its decorators are.

    >>> plain_body("@odfv(sources=[a])\ndef f(x):\n    return x  # twice")
    'def f(x):\n    return x'
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            if len(node.body) > 1 and ast.get_docstring(node) is not None:
                del node.body[0]
    return ast.unparse(tree)


def _fields(view: BaseFeatureView) -> dict[str, str]:
    return {feature.name: str(feature.dtype) for feature in view.features}


def _source(source: DataSource, root: Path) -> dict[str, str]:
    found = {
        "kind": type(source).__name__,
        "time": source.timestamp_field,
        "known": source.created_timestamp_column or "",
        "names": ", ".join(f"{old} as {new}" for old, new in sorted((source.field_mapping or {}).items())),
    }
    if isinstance(source, FileSource):
        # The same place in two copies of a repo is one place.
        return found | {"path": source.path.removeprefix(f"{root}/")}
    return found | {"table": source.get_table_query_string()}


def _service(service: FeatureService, reads: Mapping[str, frozenset[str]]) -> ServiceOutline:
    projections = service.feature_view_projections
    named = frozenset(projection.name for projection in projections)
    return ServiceOutline(
        name=service.name,
        owner=service.owner,
        columns=tuple(f"{p.name_alias or p.name}__{f.name}" for p in projections for f in p.features),
        views=named.union(*(reads.get(name, frozenset()) for name in named)),
    )


def _read_views(view: OnDemandFeatureView) -> frozenset[str]:
    return frozenset(source.name for source in view.source_feature_view_projections.values())
