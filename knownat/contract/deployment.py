"""Changes of what serves: one at a time, each with a line of history."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from knownat.contract.release import Deployment, ModelDeployment, read_deployment, write_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError

HISTORY = "promotions.jsonl"


def change_deployment(
    workspace: Workspace, change: Callable[[Deployment], Deployment], entry: Mapping[str, object]
) -> Deployment:
    """Replace what serves by what ``change`` makes of it, and append ``entry`` to the history.

    ``change`` sees the newest state and no other change happens meanwhile; if it raises, nothing does.
    """
    workspace.releases.mkdir(parents=True, exist_ok=True)
    with _alone(workspace.releases):
        after = change(read_deployment(workspace.deployment))
        write_deployment(workspace.deployment, after)
        with (workspace.releases / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")
    return after


def retire_version(before: Deployment, model: str, version: str) -> Deployment:
    """Take a version out of service; callers that name it are told where to go from then on.

    Raises
    ------
    ReleaseError
        If it does not serve, or is the champion: another one is promoted first, or the model retired.
    """
    serving = _serving(before, model)
    if version == serving.champion.version:
        raise ReleaseError(
            f"Version {version} of '{model}' is the champion. Promote another one first, or retire the model."
        )
    after = serving.without(version)
    if after == serving:
        raise ReleaseError(f"Version {version} of '{model}' does not serve; {serving.versions} do.")
    retired = (*(v for v in serving.retired if v != version), version)
    return before.with_model(model, after.model_copy(update={"retired": retired}))


def retire_model(before: Deployment, model: str) -> Deployment:
    """Take a model out of service, every version of it.

    Raises
    ------
    ReleaseError
        If it does not serve.
    """
    _serving(before, model)
    models = {name: serving for name, serving in before.models.items() if name != model}
    return Deployment(models=models, retired=(*(m for m in before.retired if m != model), model))


def _serving(before: Deployment, model: str) -> ModelDeployment:
    found = before.models.get(model)
    if found is None:
        raise ReleaseError(f"No version of '{model}' serves; there are {sorted(before.models)}.")
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the one lock of deployments: two changes at once must not lose one of them."""
    descriptor = os.open(folder / ".promotion.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
