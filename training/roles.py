"""Which version of a model serves as what, and how a version is taken out of service again."""

from collections.abc import Iterator
from datetime import datetime

from knownat.contract.deployment import change_deployment, retire_version
from knownat.contract.prediction_log import Role
from knownat.contract.release import Deployed, ModelDeployment, Release, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError


def roles(serving: ModelDeployment) -> Iterator[tuple[Role, Deployed]]:
    """Name the role of every version that answers anything, the champion first."""
    yield Role.CHAMPION, serving.champion
    if serving.challenger is not None:
        yield Role.CHALLENGER, serving.challenger
    yield from ((Role.SHADOW, each) for each in serving.shadow)
    yield from ((Role.PINNED, each) for each in serving.pinned)


def role_of(serving: ModelDeployment, version: str) -> Role | None:
    """Tell as what a version serves; None if it does not."""
    return next((role for role, each in roles(serving) if each.version == version), None)


def what_serves(workspace: Workspace, model: str) -> ModelDeployment:
    """Read which versions of a model serve now.

    Raises
    ------
    ReleaseError
        If none does.
    """
    found = read_deployment(workspace.deployment).models.get(model)
    if found is None:
        raise ReleaseError(
            f"No version of '{model}' serves, so there is none to stand beside. Run `knownat train {model}`."
        )
    return found


def champion_of(workspace: Workspace, model: str) -> Release:
    """Read the release that serves as champion.

    Raises
    ------
    ReleaseError
        If none serves, or it was changed since it was promoted.
    """
    deployed = what_serves(workspace, model).champion
    return read_release(workspace.releases / model / deployed.version, digest=deployed.digest)


def find_champion(workspace: Workspace, model: str) -> Release | None:
    """Read the release that serves as champion, as :func:`champion_of` does; None if none serves."""
    serves = model in read_deployment(workspace.deployment).models
    return champion_of(workspace, model) if serves else None


def withdraw_shadow(workspace: Workspace, model: str, version: str, *, reason: str, when: datetime) -> None:
    """Take a version out of the shadow, with a line of history; in any other role it is let be."""
    if role_of(what_serves(workspace, model), version) is not Role.SHADOW:
        return
    change_deployment(
        workspace,
        lambda before: retire_version(before, model, version),
        {"at": when.isoformat(), "model": model, "version": version, "role": "retired", "reason": reason},
    )
