"""Who is touched by a change of definitions: the releases that serve, and the services that promise it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from knownat.contract.prediction_log import Role
from knownat.contract.read_plan import ReadPlan
from knownat.contract.release import ModelDeployment, Release, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.stores.definition_changes import Change, What
from knownat.stores.outlines import Outline


@dataclass(frozen=True)
class Served:
    """A release that answers, and as what."""

    release: Release
    role: Role
    plan: ReadPlan

    @property
    def title(self) -> str:
        """Name it for people: model, version and role."""
        return f"{self.release.manifest.model} {self.release.manifest.version} ({self.role})"


def served_releases(workspace: Workspace) -> list[Served]:
    """Read every release that answers anything, champions first, in the order of their models.

    Raises
    ------
    ReleaseError
        If one was changed since it was promoted.
    """
    found = []
    for model, serving in sorted(read_deployment(workspace.deployment).models.items()):
        for version, digest, role in _roles(serving):
            release = read_release(workspace.releases / model / version, digest=digest)
            found.append(Served(release, role, release.plan))
    return found


def _roles(serving: ModelDeployment) -> Iterator[tuple[str, str, Role]]:
    by_role = (
        (Role.CHAMPION, (serving.champion,)),
        (Role.CHALLENGER, (serving.challenger,) if serving.challenger else ()),
        (Role.SHADOW, serving.shadow),
        (Role.PINNED, serving.pinned),
    )
    for role, deployed in by_role:
        yield from ((each.version, each.digest, role) for each in deployed)


def reads(plan: ReadPlan, change: Change) -> bool:
    """Tell whether what a release carries reads what changed."""
    if change.of_service:
        return plan.feature_service == change.name
    fields = _fields_of(plan, change.name)
    if not fields:
        return False
    return not change.field or change.field in fields or change.what is What.FIELD_ADDED


def touched_services(change: Change, before: Outline, after: Outline) -> set[str]:
    """Name the feature services that promise, or read, what changed."""
    if change.of_service:
        return {change.name}
    return {
        service.name
        for each in (before, after)
        for service in each.services.values()
        if change.name in service.views
    }


def touched_owners(change: Change, services: Collection[str], before: Outline, after: Outline) -> set[str]:
    """Name who owns what changed and the services it touches; owners of models come on top."""
    owners = set()
    for each in (before, after):
        if not change.of_service and change.name in each.views:
            owners.add(each.views[change.name].owner)
        owners |= {each.services[name].owner for name in services if name in each.services}
    return owners - {""}


def _fields_of(plan: ReadPlan, view: str) -> set[str]:
    """Collect the fields that a plan reads of a view, under whatever names."""
    stored = [{f.name for f in each.features} for each in plan.views if each.stored_view == view]
    made = [{f.name for f in t.outputs} for t in plan.transforms if PurePosixPath(t.file).stem == view]
    return set[str]().union(*stored, *made)
