"""Who builds on a view: feature services, models declared on them, and the releases that serve."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from feast import FeatureStore
from feast.on_demand_feature_view import OnDemandFeatureView

from knownat.contract.model_spec import model_names, read_spec
from knownat.contract.read_plan import ReadPlan
from knownat.contract.release import Deployment, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import KnownatError
from knownat.stores.services import take_apart

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """A service, a model or a serving release, and what it reads of one view."""

    kind: str
    """``service``, ``model`` or ``release``."""
    name: str
    owner: str
    features: tuple[str, ...]
    """Read as they are."""
    through: tuple[str, ...] = ()
    """On-demand views that it reads the rest through."""
    role: str = ""
    """As what a release serves."""
    runbook: str = ""
    card: str = ""
    """Where a release's model card lies, seen from the workspace's home."""


@dataclass(frozen=True)
class _Reads:
    """What one consumer reads of one view."""

    features: tuple[str, ...]
    through: tuple[str, ...]


def find_consumers(workspace: Workspace, store: FeatureStore) -> dict[str, list[Consumer]]:
    """Find, for each view, everything that builds on it.

    A declaration or a release that cannot be read is left out and logged: `knownat doctor` judges it.
    """
    services = [*_services(store)]
    builders = [*services, *_models(workspace, {each.name: each.reads for each in services})]
    found: dict[str, list[Consumer]] = {}
    for builder in (*builders, *_releases(workspace)):
        for view, read in builder.reads.items():
            found.setdefault(view, []).append(builder.consumer(read))
    return found


@dataclass(frozen=True, kw_only=True)
class _Builder:
    kind: str
    name: str
    owner: str
    reads: Mapping[str, _Reads]
    role: str = ""
    runbook: str = ""
    card: str = ""

    def consumer(self, read: _Reads) -> Consumer:
        return Consumer(
            kind=self.kind,
            name=self.name,
            owner=self.owner,
            features=read.features,
            through=read.through,
            role=self.role,
            runbook=self.runbook,
            card=self.card,
        )


def _services(store: FeatureStore) -> Iterator[_Builder]:
    for service in sorted(store.list_feature_services(), key=lambda each: each.name):
        reads = _reads_of_service(store, service.name)
        yield _Builder(kind="service", name=service.name, owner=service.owner, reads=reads)


def _models(workspace: Workspace, services: Mapping[str, Mapping[str, _Reads]]) -> Iterator[_Builder]:
    for name in model_names(workspace.models):
        try:
            spec = read_spec(workspace.model_file(name))
        except KnownatError as error:
            _log.warning("Model '%s' is left out of the catalogue: %s", name, error)
            continue
        reads = services.get(spec.feature_service, {})
        yield _Builder(kind="model", name=name, owner=spec.owner, reads=reads, runbook=spec.runbook)


def _releases(workspace: Workspace) -> Iterator[_Builder]:
    try:
        deployment = read_deployment(workspace.deployment)
    except KnownatError as error:
        _log.warning("What serves is left out of the catalogue: %s", error)
        return
    for model, version, digest, role in serving_versions(deployment):
        folder = workspace.releases / model / version
        try:
            release = read_release(folder, digest=digest)
        except KnownatError as error:
            _log.warning("Release %s %s is left out of the catalogue: %s", model, version, error)
            continue
        spec = release.manifest.spec
        card = (folder / "card.html").relative_to(workspace.home).as_posix()
        yield _Builder(
            kind="release",
            name=f"{model} {version}",
            owner=spec.owner,
            reads=_reads_of_plan(release.plan),
            role=role,
            runbook=spec.runbook,
            card=card,
        )


def serving_versions(deployment: Deployment) -> Iterator[tuple[str, str, str, str]]:
    """Name every version that serves: model, version, digest and role."""
    for model, serving in deployment.models.items():
        named = [("champion", serving.champion)]
        named += [("challenger", serving.challenger)] if serving.challenger else []
        named += [("shadow", one) for one in serving.shadow] + [("pinned", one) for one in serving.pinned]
        for role, one in named:
            yield model, one.version, one.digest, role


def _reads_of_service(store: FeatureStore, name: str) -> dict[str, _Reads]:
    service = take_apart(store, name)
    aliases = {used.name: used.view.name for used in service.views}
    inputs = {view.name: list(_inputs(view)) for view in service.on_demand}
    return _reads(service.promised, inputs, aliases)


def _inputs(view: OnDemandFeatureView) -> Iterator[str]:
    for source in view.source_feature_view_projections.values():
        yield from (f"{source.name_alias or source.name}__{feature.name}" for feature in source.features)


def _reads_of_plan(plan: ReadPlan) -> dict[str, _Reads]:
    aliases = {view.name: view.stored_view for view in plan.views}
    inputs = {each.name: list(each.inputs.values()) for each in plan.transforms}
    return _reads(plan.output_columns, inputs, aliases)


def _reads(
    promised: Iterable[str], inputs: Mapping[str, Sequence[str]], aliases: Mapping[str, str]
) -> dict[str, _Reads]:
    features: dict[str, dict[str, None]] = {}
    through: dict[str, dict[str, None]] = {}
    for column in promised:
        called, _, feature = column.partition("__")
        features.setdefault(aliases.get(called, called), {})[feature] = None
    for transform, columns in inputs.items():
        for column in columns:
            called, sign, _ = column.partition("__")
            if sign and called in aliases:
                through.setdefault(aliases[called], {})[transform] = None
    return {
        view: _Reads(tuple(features.get(view, ())), tuple(through.get(view, ())))
        for view in {**features, **through}
    }
