"""Promotion: which versions serve, by digest, in the one file a scorer reads."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import JsonValue

from knownat.clock import Clock, SystemClock, from_us
from knownat.contract.deployment import change_deployment, read_history
from knownat.contract.prediction_log import Role
from knownat.contract.release import (
    Deployed,
    Deployment,
    GateResult,
    ModelDeployment,
    Release,
    read_release,
)
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.scoring.trial import trial_load
from training.champions import earlier_champion
from training.evidence import read_evidence


def promote(
    workspace: Workspace,
    model: str,
    version: str,
    *,
    role: Role | str = Role.CHAMPION,
    share: float | None = None,
    reason: str | None = None,
    instead_of: str | None = None,
    clock: Clock | None = None,
) -> Deployment:
    """Let a version serve, and record when, what and why in ``releases/promotions.jsonl``.

    A challenger answers its ``share`` of the requests that name no version, a pinned version those that
    name it, a shadow nobody. Each of these needs a champion to stand beside. The champion that is
    replaced stays on disk; promote it again to go back. ``instead_of`` names the champion that it was
    held against.

    Raises
    ------
    ReleaseError
        If the release cannot be loaded or is of another model, if its certificate is missing or proves a
        leak, if it failed a gate and no reason was given, or if the champion is not ``instead_of``.
    """
    path = workspace.releases / model / version
    release = read_release(path)
    _refuse(release, model, reason)
    trial_load(path, release.digest)
    deployed = Deployed(version=version, digest=release.digest)
    when = from_us((clock or SystemClock()).now_us())
    gates = release.manifest.gates
    return record(
        workspace,
        model,
        deployed,
        role=Role(role),
        share=share,
        reason=reason,
        when=when,
        gates=gates,
        instead_of=instead_of,
    )


def roll_back(
    workspace: Workspace, model: str, *, reason: str | None = None, clock: Clock | None = None
) -> Deployment:
    """Let the champion before this one serve again; again, the one before that.

    Its gates are not judged anew, since it has served; that its folder is unchanged and loads is checked.

    Raises
    ------
    ReleaseError
        If no champion came before, or it cannot be loaded.
    """
    before = earlier_champion(read_history(workspace), model)
    release = read_release(workspace.releases / model / before.version, digest=before.digest)
    trial_load(release.path, release.digest)
    when = from_us((clock or SystemClock()).now_us())
    return record(
        workspace,
        model,
        before,
        role=Role.CHAMPION,
        reason=reason,
        when=when,
        gates=release.manifest.gates,
        is_rollback=True,
    )


def record(
    workspace: Workspace,
    model: str,
    deployed: Deployed,
    *,
    role: Role,
    reason: str | None,
    when: datetime,
    share: float | None = None,
    gates: Sequence[GateResult] = (),
    is_rollback: bool = False,
    instead_of: str | None = None,
) -> Deployment:
    """Write a promotion down: what serves from now on, and the line of history that says who and why.

    Raises
    ------
    ReleaseError
        If the role is not free for that version, see :func:`assign`, or the champion is not ``instead_of``.
    """

    def change(before: Deployment) -> Deployment:
        serving = before.models.get(model)
        # Looked at under the lock of the change itself: nobody can come in between.
        if instead_of is not None and (serving is None or serving.champion.version != instead_of):
            now = "nothing" if serving is None else f"version {serving.champion.version}"
            raise ReleaseError(
                f"{now} of '{model}' is champion now, not version {instead_of}. Compare again."
            )
        changed = assign(serving, deployed, role, model=model)
        if role is Role.CHALLENGER and share is not None:
            changed = changed.model_copy(update={"challenger_share": share})
        return before.with_model(model, changed)

    entry: dict[str, JsonValue] = {
        "at": when.isoformat(),
        "model": model,
        "role": str(role),
        "share": share,
        "reason": reason,
        "rollback": is_rollback,
        "gates": [gate.model_dump() for gate in gates],
        **deployed.model_dump(),
    }
    return change_deployment(workspace, change, entry)


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
        kept = ModelDeployment(champion=new) if before is None else before.without(new.version)
        return _served_again(kept, new.version).model_copy(update={"champion": new})
    if before is None:
        raise ReleaseError(f"'{model}' has no champion yet. Promote one before a {role}.")
    if before.champion.version == new.version:
        raise ReleaseError(f"Version {new.version} of '{model}' is the champion. Promote another one first.")
    others = _served_again(before.without(new.version), new.version)
    if role is Role.CHALLENGER:
        return others.model_copy(update={"challenger": new})
    if role is Role.PINNED:
        return others.model_copy(update={"pinned": (*others.pinned, new)})
    return others.model_copy(update={"shadow": (*others.shadow, new)})


def _served_again(deployment: ModelDeployment, version: str) -> ModelDeployment:
    return deployment.model_copy(update={"retired": tuple(v for v in deployment.retired if v != version)})
