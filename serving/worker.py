"""One scorer process, put together and run."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from knownat.clock import open_clock
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError


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
    from knownat.contract.pseudonyms import read_pseudonyms
    from knownat.scoring.trial_room import open_trial_room
    from knownat.stores.online_address import read_address

    workspace = Workspace.at(Path(config.repo))
    if read_address(workspace.repo) is not None:
        # Only a store that is not ours is read through Feast.
        keep_out("feast", "pandas", "mlflow", "evidently")
    # Before the first model, store, journal or connection of this process: the room inherits none of them.
    room = open_trial_room()
    from serving.access import Access
    from serving.app import Limits, Parts, create_apps
    from serving.candidates import CandidateModels
    from serving.features import open_feature_store, open_row_store
    from serving.loading import ReleaseLoader
    from serving.models import ServedModels
    from serving.prediction_ids import open_prediction_ids
    from serving.prediction_log import LogBook
    from serving.pressure import Pressure
    from serving.pushes import Pushes
    from serving.server import Listening, run

    clock = open_clock(config.clock)
    access = Access(None if config.keys is None else Path(config.keys), clock)
    book = LogBook(workspace.predictions)
    ids = open_prediction_ids(workspace.predictions, book.writer)
    opened = open_feature_store(workspace.repo)
    secret = None if config.pseudonym_key is None else read_pseudonyms(Path(config.pseudonym_key))
    loader = ReleaseLoader(workspace.releases, opened, book, trial=room.try_load, pseudonyms=secret)
    models = (
        ServedModels(workspace.deployment, loader)
        if config.candidate is None
        else CandidateModels(workspace.releases, loader, *config.candidate)
    )
    models.refresh()
    if not models.current:
        why = "; ".join(f"{name}: {text}" for name, text in models.problems.items())
        raise ReleaseError(
            f"{workspace.deployment} names nothing that can be served. "
            f"{why or 'Train a model and promote it: knownat train MODEL.'}"
        )
    limits = Limits(max_body_bytes=config.max_body_bytes)
    pressure = Pressure(most=config.max_pending)
    pushes = Pushes(workspace.push_sources, lambda: open_row_store(workspace.repo))
    parts = Parts(models, book, ids, clock, access, pressure=pressure, limits=limits, pushes=pushes)
    app, admin = create_apps(parts)

    def announce() -> None:
        on_ready({name: lineup.champion.version for name, lineup in models.current.items()})

    book.start()
    try:
        run(
            Listening(app, sockets.public, app.rounds),
            Listening(admin, sockets.admin),
            drain=parts.drain,
            pressure=parts.pressure,
            drain_seconds=config.drain_seconds,
            on_ready=announce,
            leash=leash,
        )
    finally:
        book.close()
        room.close()
