"""The versions of a model as its page lists them, and when each began to serve."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from knownat.contract.deployment import read_history
from knownat.contract.prediction_log import Role
from knownat.contract.release import CARD, MANIFEST, Interval, Manifest, ModelDeployment, read_deployment
from knownat.contract.workspace import Workspace


@dataclass(frozen=True)
class Version:
    """One release: what it promised, and what it serves as."""

    version: str
    made: datetime
    cutoff: datetime
    metric: str
    promised: Interval | None
    passed: bool
    role: str | None
    card: Path | None


@dataclass(frozen=True)
class Change:
    """One line of the history of promotions."""

    at: datetime
    version: str
    role: str
    who: str
    reason: str


def read_versions(workspace: Workspace, model: str) -> list[Version]:
    """List a model's releases, oldest first; one that cannot be read is left out.

    Only manifests are read: whether a release was changed is the scorer's question, at each start.
    """
    serving = read_deployment(workspace.deployment).models.get(model)
    found = [
        Version(
            version=manifest.version,
            made=manifest.created_at,
            cutoff=manifest.cutoff,
            metric=manifest.spec.metric,
            promised=manifest.metrics.get(manifest.spec.metric),
            passed=manifest.passed,
            role=_role(serving, manifest.version),
            card=path.with_name(CARD) if path.with_name(CARD).is_file() else None,
        )
        for path, manifest in _manifests(workspace.releases / model)
    ]
    return sorted(found, key=lambda version: (version.made, version.version))


def read_changes(workspace: Workspace, model: str) -> list[Change]:
    """List what was promoted, rolled back or retired, oldest first."""
    return [
        Change(
            at=datetime.fromisoformat(str(line["at"])),
            version=str(line.get("version") or "every version"),
            role=str(line["role"]),
            who=str(line.get("who") or ""),
            reason=str(line.get("reason") or ""),
        )
        for line in read_history(workspace)
        if line.get("model") == model
    ]


def champions(changes: Sequence[Change]) -> list[Change]:
    """Keep the changes of champion: the marks of a timeline."""
    return [change for change in changes if change.role == Role.CHAMPION]


def _manifests(folder: Path) -> Iterator[tuple[Path, Manifest]]:
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        if path.parent.name.startswith("."):
            continue
        try:
            yield path, Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue


def _role(serving: ModelDeployment | None, version: str) -> str | None:
    if serving is None:
        return None
    if serving.champion.version == version:
        return str(Role.CHAMPION)
    if serving.challenger is not None and serving.challenger.version == version:
        return f"{Role.CHALLENGER}, {serving.challenger_share:.0%} of requests"
    for role, group in ((Role.SHADOW, serving.shadow), (Role.PINNED, serving.pinned)):
        if version in {deployed.version for deployed in group}:
            return str(role)
    return "retired" if version in serving.retired else None
