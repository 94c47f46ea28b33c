"""Promotion: which versions serve, by digest, in the one file a scorer reads."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from knownat.clock import Clock, SystemClock, from_us
from knownat.contract.prediction_log import Role
from knownat.contract.release import (
    Deployed,
    Deployment,
    ModelDeployment,
    Release,
    read_deployment,
    read_release,
    write_deployment,
)
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.scoring.trial import trial_load
from training.evidence import read_evidence

HISTORY = "promotions.jsonl"


def promote(
    workspace: Workspace,
    model: str,
    version: str,
    *,
    role: Role | str = Role.CHAMPION,
    reason: str | None = None,
    clock: Clock | None = None,
) -> Deployment:
    """Let a version serve, and record when, what and why in ``releases/promotions.jsonl``.

    A challenger and a shadow need a champion to stand beside. The champion that is replaced stays on
    disk; promote it again to go back.

    Raises
    ------
    ReleaseError
        If the release cannot be loaded or is of another model, if its certificate is missing or proves a
        leak, or if it failed a gate and no reason was given.
    """
    path = workspace.releases / model / version
    release = read_release(path)
    _refuse(release, model, reason)
    trial_load(path, release.digest)
    deployed = Deployed(version=version, digest=release.digest)
    when = from_us((clock or SystemClock()).now_us())
    return record(workspace, model, deployed, role=Role(role), reason=reason, when=when)


def record(
    workspace: Workspace, model: str, deployed: Deployed, *, role: Role, reason: str | None, when: datetime
) -> Deployment:
    """Write a promotion down: what serves from now on, and the line of history that says why.

    Raises
    ------
    ReleaseError
        If the role is not free for that version; see :func:`assign`.
    """
    with _alone(workspace.releases):
        before = read_deployment(workspace.deployment)
        changed = assign(before.models.get(model), deployed, role, model=model)
        after = Deployment(models={**before.models, model: changed})
        write_deployment(workspace.deployment, after)
        entry = {"at": when.isoformat(), "model": model, "role": role, "reason": reason}
        _append(workspace.releases / HISTORY, entry | deployed.model_dump())
    return after


def _refuse(release: Release, model: str, reason: str | None) -> None:
    manifest = release.manifest
    if manifest.model != model:
        raise ReleaseError(f"{release.path} is a release of '{manifest.model}', not of '{model}'.")
    evidence = read_evidence(release)
    if evidence.problems:
        listed = "\n".join(f"- {problem}" for problem in evidence.problems)
        raise ReleaseError(f"{release.path} does not serve: its certificate speaks against it.\n{listed}")
    failed = [f"{gate.gate} (it is {gate.value:.4g})" for gate in manifest.gates if not gate.passed]
    if failed and not reason:
        told = (
            f"{release.path} failed its gates: {'; '.join(failed)}. "
            "Improve the model, or promote it with a reason."
        )
        raise ReleaseError("\n".join([told, *(f"- {words}" for words in evidence.open_suspicions)]))


def assign(before: ModelDeployment | None, new: Deployed, role: Role, *, model: str) -> ModelDeployment:
    """Give a version its role; it had at most one before, and leaves that.

    Raises
    ------
    ReleaseError
        If a challenger or a shadow would stand alone, or is the champion.
    """
    if role is Role.CHAMPION:
        kept = ModelDeployment(champion=new) if before is None else _without(before, new.version)
        return kept.model_copy(update={"champion": new})
    if before is None:
        raise ReleaseError(f"'{model}' has no champion yet. Promote one before a {role}.")
    if before.champion.version == new.version:
        raise ReleaseError(f"Version {new.version} of '{model}' is the champion. Promote another one first.")
    others = _without(before, new.version)
    if role is Role.CHALLENGER:
        return others.model_copy(update={"challenger": new})
    return others.model_copy(update={"shadow": (*others.shadow, new)})


def _without(deployment: ModelDeployment, version: str) -> ModelDeployment:
    challenger = deployment.challenger
    return deployment.model_copy(
        update={
            "challenger": None if challenger and challenger.version == version else challenger,
            "shadow": tuple(shadow for shadow in deployment.shadow if shadow.version != version),
        }
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the one lock of promotions: two at once must not lose one of them."""
    descriptor = os.open(folder / ".promotion.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _append(path: Path, entry: dict[str, object]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, sort_keys=True) + "\n")
