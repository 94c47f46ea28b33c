"""Every version of every model in one list, and what each serves as."""

from dataclasses import dataclass
from datetime import datetime

from knownat.contract.deployment import read_history
from knownat.contract.release import ModelDeployment, Release, read_deployment
from knownat.contract.workspace import Workspace
from training.champions import champion_at
from training.roles import roles
from training.versions import list_releases


@dataclass(frozen=True)
class Version:
    """One line of the list; ``role`` is what it serves as, or None."""

    model: str
    version: str
    digest: str
    made: datetime
    cutoff: datetime
    metric: str
    value: float
    low: float
    high: float
    passed: bool
    role: str | None

    def as_json(self) -> dict[str, object]:
        """Lay the line out for ``--json``."""
        return {**vars(self), "made": self.made.isoformat(), "cutoff": self.cutoff.isoformat()}


def list_versions(
    workspace: Workspace, model: str | None = None, *, at: datetime | None = None
) -> list[Version]:
    """List every version, oldest first; with ``at``, only the champions of that time.

    Raises
    ------
    ReleaseError
        If a release was changed after it was made.
    """
    serving = read_deployment(workspace.deployment).models
    found = [
        _version(release, _role(serving.get(release.manifest.model), release.digest))
        for release in list_releases(workspace, model)
    ]
    if at is None:
        return found
    history = read_history(workspace)
    champions = {name: champion_at(history, name, at) for name in {version.model for version in found}}
    return [v for v in found if (champion := champions[v.model]) and champion.digest == v.digest]


def _version(release: Release, role: str | None) -> Version:
    manifest = release.manifest
    own = manifest.metrics[manifest.spec.metric]
    return Version(
        model=manifest.model,
        version=manifest.version,
        digest=release.digest,
        made=manifest.created_at,
        cutoff=manifest.cutoff,
        metric=manifest.spec.metric,
        value=own.value,
        low=own.low,
        high=own.high,
        passed=manifest.passed,
        role=role,
    )


def _role(serving: ModelDeployment | None, digest: str) -> str | None:
    served = () if serving is None else roles(serving)
    return next((str(role) for role, each in served if each.digest == digest), None)
