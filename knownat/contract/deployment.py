"""Changes of what serves: one at a time, each with a line of history."""

import fcntl
import getpass
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from knownat.contract.release import Deployment, ModelDeployment, read_deployment, write_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError

HISTORY = "promotions.jsonl"


def change_deployment(
    workspace: Workspace, change: Callable[[Deployment], Deployment], entry: Mapping[str, JsonValue]
) -> Deployment:
    """Replace what serves by what ``change`` makes of it, and append ``entry`` to the history.

    ``change`` sees the newest state and no other change happens meanwhile; if it raises, nothing does.
    The entry is numbered, says who made the change and which champion it found, and is a part of what is
    written: a process that is killed before its line is in the history loses no line, since the next
    change appends it.
    """
    workspace.releases.mkdir(parents=True, exist_ok=True)
    with _alone(workspace.releases):
        before = read_deployment(workspace.deployment)
        _make_up_for_a_lost_line(workspace, before)
        after = change(before)
        line = _line(before, entry)
        after = after.model_copy(update={"last_change": line})
        write_deployment(workspace.deployment, after)
        _append(workspace, line)
    return after


def read_history(workspace: Workspace) -> list[dict[str, JsonValue]]:
    """Read every change of what serves, oldest first, also one whose line was not appended yet."""
    lines, _ = _whole_lines(workspace)
    last = read_deployment(workspace.deployment).last_change
    return lines if last is None or _has(lines, last) else [*lines, dict(last)]


def _line(before: Deployment, entry: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    number = (before.last_change or {}).get("number", 0)
    serving = before.models.get(str(entry.get("model")))
    return {
        **entry,
        "number": int(str(number)) + 1,
        "who": entry.get("who") or login(),
        "found_champion": None if serving is None else serving.champion.version,
    }


def _make_up_for_a_lost_line(workspace: Workspace, before: Deployment) -> None:
    lines, whole = _whole_lines(workspace)
    path = workspace.releases / HISTORY
    if path.exists() and path.stat().st_size > whole:
        # Half a line of a process that was killed while it wrote.
        os.truncate(path, whole)
    if before.last_change is not None and not _has(lines, before.last_change):
        _append(workspace, before.last_change)


def _whole_lines(workspace: Workspace) -> tuple[list[dict[str, JsonValue]], int]:
    try:
        content = (workspace.releases / HISTORY).read_bytes()
    except FileNotFoundError:
        return [], 0
    whole = content.rfind(b"\n") + 1
    return [json.loads(line) for line in content[:whole].splitlines()], whole


def _has(lines: Sequence[Mapping[str, JsonValue]], wanted: Mapping[str, JsonValue]) -> bool:
    return any(line.get("number") == wanted.get("number") for line in lines[-2:])


def _append(workspace: Workspace, line: Mapping[str, JsonValue]) -> None:
    with (workspace.releases / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())


def login() -> str:
    """Name who runs this process: ``KNOWNAT_USER``, or the login name."""
    named = os.environ.get("KNOWNAT_USER")
    try:
        return named or getpass.getuser()
    except (KeyError, OSError):
        # A container's user often has no name.
        return f"uid {os.getuid()}"


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
