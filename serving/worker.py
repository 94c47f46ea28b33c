"""One scorer process: made small, given a room for trials, and only then put together and run."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from knownat.contract.workspace import Workspace


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is told; plain values, so that another process can be told."""

    repo: str
    keys: str | None = None
    clock: str = "system"
    drain_seconds: float = 1.0
    max_body_bytes: int = 8 << 20
    max_pending: int = 100
    candidate: tuple[str, str] | None = None
    """A model and the version of it to serve alone, though it was not promoted."""
    pseudonym_key: str | None = None
    verbose: bool = False


@dataclass(frozen=True)
class Sockets:
    """Where a worker listens: a port that others may reach, and its own for operators."""

    public: socket.socket
    admin: socket.socket


def run_worker(
    config: WorkerConfig,
    sockets: Sockets,
    *,
    on_ready: Callable[[Mapping[str, str]], None],
    leash: int | None = None,
) -> None:
    """Serve until told to stop, then drain and return; ``on_ready`` gets the versions that serve.

    ``leash`` is a descriptor whose end means to stop.

    Raises
    ------
    ReleaseError
        If nothing that is deployed can be served.
    KnownatError
        If the repo, its store, the keys or the log cannot be opened.
    """
    from serving.lean import keep_out, stay_lean

    stay_lean()
    from knownat.scoring.trial_room import open_trial_room
    from knownat.stores.online_address import read_address

    if read_address(Workspace.at(Path(config.repo)).repo) is not None:
        # Only a store that is not ours is read through Feast.
        keep_out("feast", "pandas", "mlflow", "evidently")
    # Before the first model, store, journal or connection of this process: the room inherits none of them.
    room = open_trial_room()
    try:
        from serving.assembly import Assembly

        assembly = Assembly.of(config, trial=room.try_load)
        # Who drains takes up no release; a trial of one must not keep it from ending.
        assembly.serve(sockets, on_ready=on_ready, on_stop=room.stop, leash=leash)
    finally:
        room.close()
