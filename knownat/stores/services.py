"""What a feature service asks for: views with their features, on-demand views, request inputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore, RequestSource
from feast.errors import FeatureServiceNotFoundException
from feast.feature_view import FeatureView
from feast.feature_view_projection import FeatureViewProjection
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.types import FeastType, from_feast_to_pyarrow_type

from knownat.errors import RepoError


@dataclass(frozen=True)
class ServiceView:
    """A view as a service uses it: under which name, and which of its features."""

    view: FeatureView
    name: str
    features: dict[str, pa.DataType]

    def column(self, feature: str) -> str:
        """The full name of one of its features."""
        return f"{self.name}__{feature}"


@dataclass(frozen=True)
class Service:
    """A feature service taken apart; views include those that only on-demand views read."""

    name: str
    views: tuple[ServiceView, ...]
    on_demand: tuple[OnDemandFeatureView, ...]
    request_inputs: dict[str, pa.DataType]
    promised: dict[str, pa.DataType]
    """Every column the service names, ``view__feature``, in its order, with its declared type."""


def take_apart(store: FeatureStore, feature_service: str) -> Service:
    """Look a feature service up and resolve everything it needs.

    Raises
    ------
    RepoError
        If the registry has no such service.
    """
    try:
        service = store.get_feature_service(feature_service)
    except FeatureServiceNotFoundException as error:
        have = sorted(s.name for s in store.list_feature_services())
        raise RepoError(
            f"There is no feature service '{feature_service}'; the registry has {have}. "
            "Correct the model's TOML, or define it and run `knownat apply`."
        ) from error
    return _take_apart(store, feature_service, service.feature_view_projections)


def take_features(store: FeatureStore, features: Sequence[str]) -> Service:
    """Look features up as a service would: each ``view:feature``, or ``view`` for all of a view's.

    Raises
    ------
    RepoError
        If a view or a feature is not registered; every one at once.
    """
    known = {view.name: view for view in store.list_all_feature_views()}
    wanted: dict[str, list[str]] = {}
    problems = []
    for name in features:
        view, _, feature = name.partition(":")
        have = [field.name for field in known[view].features] if view in known else []
        if not have or (feature and feature not in have):
            problems.append(name)
        chosen = wanted.setdefault(view, [])
        chosen += [each for each in ([feature] if feature else have) if each not in chosen]
    if problems:
        raise RepoError(
            f"There are no features {problems}; write view:feature. `knownat features search` finds them."
        )
    projections = [known[view][names].projection for view, names in wanted.items()]
    return _take_apart(store, "the features asked for", projections)


def _take_apart(store: FeatureStore, name: str, projections: Sequence[FeatureViewProjection]) -> Service:
    views: dict[str, ServiceView] = {}
    on_demand: list[OnDemandFeatureView] = []
    request_inputs: dict[str, pa.DataType] = {}
    promised: dict[str, pa.DataType] = {}
    for projection in projections:
        called = projection.name_alias or projection.name
        promised |= {f"{called}__{f.name}": arrow_type(f.dtype) for f in projection.features}
        view = store.registry.get_any_feature_view(projection.name, store.project)
        if not isinstance(view, OnDemandFeatureView):
            _add(views, store, projection)
            continue
        on_demand.append(view.with_projection(projection))
        for source in stored_sources(view):
            _add(views, store, source)
        for request in request_sources(view):
            request_inputs |= {field.name: arrow_type(field.dtype) for field in request.schema}
    return Service(name, tuple(views.values()), tuple(on_demand), request_inputs, promised)


def stored_sources(view: OnDemandFeatureView) -> list[FeatureViewProjection]:
    """List the views that an on-demand view reads, by name.

    Feast keeps them in a map of a protocol buffer, which comes out in another order in each process.
    """
    return [source for _, source in sorted(view.source_feature_view_projections.items())]


def request_sources(view: OnDemandFeatureView) -> list[RequestSource]:
    """List the requests that an on-demand view reads, by name, as :func:`stored_sources` does the views."""
    return [source for _, source in sorted(view.source_request_sources.items())]


def arrow_type(dtype: FeastType) -> pa.DataType:
    """Translate a declared Feast type.

    Raises
    ------
    RepoError
        If it has no Arrow type.
    """
    try:
        return from_feast_to_pyarrow_type(dtype)
    except (ValueError, AssertionError) as error:
        raise RepoError(f"Features of type {dtype} are not supported: {error}") from error


def as_declared(column: pa.ChunkedArray, kind: pa.DataType, name: str) -> pa.ChunkedArray:
    """Cast a column to its declared type, exactly.

    Raises
    ------
    RepoError
        If a value does not fit.
    """
    if column.type == kind:
        return column
    try:
        if pa.types.is_floating(column.type) and pa.types.is_integer(kind):
            # An on-demand body returns NaN for a missing integer.
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise RepoError(
            f"Feature '{name}' is declared as {kind}, but its values are {column.type} and do not fit: "
            f"{error}. Correct the definition or the table."
        ) from error


def _add(views: dict[str, ServiceView], store: FeatureStore, projection: FeatureViewProjection) -> None:
    name = projection.name_alias or projection.name
    view = store.registry.get_any_feature_view(projection.name, store.project)
    if not isinstance(view, FeatureView):
        raise RepoError(f"'{projection.name}' is a {type(view).__name__}; knownat reads feature views.")
    wanted = {field.name: arrow_type(field.dtype) for field in projection.features}
    before = views[name].features if name in views else {}
    views[name] = ServiceView(view.with_projection(projection), name, before | wanted)
