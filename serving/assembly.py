"""A scorer put together from what its worker was told; imported once the process may load models."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from knownat.clock import open_clock
from knownat.contract.pseudonyms import read_pseudonyms
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
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
from serving.worker import Sockets, WorkerConfig


@dataclass(frozen=True)
class Assembly:
    """What a scorer process stands on, models loaded; :meth:`serve` runs it."""

    parts: Parts
    drain_seconds: float

    @classmethod
    def of(cls, config: WorkerConfig, *, trial: Callable[[Path, str], None]) -> Self:
        """Open everything that a worker was told to serve; ``trial`` survives what a release does to it.

        Raises
        ------
        ReleaseError
            If nothing that is deployed can be served.
        KnownatError
            If the repo, its store, the keys or the log cannot be opened.
        """
        workspace, clock = Workspace.at(Path(config.repo)), open_clock(config.clock)
        book = LogBook(workspace.predictions)
        return cls(
            Parts(
                models=_models(config, workspace, book, trial),
                book=book,
                ids=open_prediction_ids(workspace.predictions, book.writer),
                clock=clock,
                access=Access(None if config.keys is None else Path(config.keys), clock),
                pressure=Pressure(most=config.max_pending),
                limits=Limits(max_body_bytes=config.max_body_bytes),
                pushes=Pushes(workspace.push_sources, lambda: open_row_store(workspace.repo)),
            ),
            config.drain_seconds,
        )

    def serve(
        self,
        sockets: Sockets,
        *,
        on_ready: Callable[[Mapping[str, str]], None],
        on_stop: Callable[[], None],
        leash: int | None,
    ) -> None:
        """Serve until told to stop, call ``on_stop``, drain, seal the log and return."""
        parts = self.parts
        app, admin = create_apps(parts)
        parts.book.start()
        # What is loaded by now stays: a collection need not walk through it, and hold up who asks meanwhile.
        gc.collect()
        gc.freeze()
        try:
            run(
                Listening(app, sockets.public, app.rounds),
                Listening(admin, sockets.admin),
                drain=parts.drain,
                pressure=parts.pressure,
                drain_seconds=self.drain_seconds,
                on_ready=lambda: on_ready(_champions(parts.models)),
                on_stop=on_stop,
                leash=leash,
            )
        finally:
            parts.book.close()


def _models(
    config: WorkerConfig, workspace: Workspace, book: LogBook, trial: Callable[[Path, str], None]
) -> ServedModels:
    """Load what is deployed, or the one candidate that is to be shown."""
    secret = None if config.pseudonym_key is None else read_pseudonyms(Path(config.pseudonym_key))
    opened = open_feature_store(workspace.repo)
    loader = ReleaseLoader(workspace.releases, opened, book, trial=trial, pseudonyms=secret)
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
    return models


def _champions(models: ServedModels) -> dict[str, str]:
    return {name: lineup.champion.version for name, lineup in models.current.items()}
