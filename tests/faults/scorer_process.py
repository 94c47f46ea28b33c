"""A scorer over made-up features as a process of its own: ``python -m tests.faults.scorer_process FOLDER``.

Prints its ports, public and admin, once ready. ``--file-limit`` lets no file grow beyond so many bytes, as
a full disk does; ``--slow`` makes every read take so many seconds.
"""

import argparse
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import typer

from knownat.clock import SystemClock
from serving.addresses import bind_admin, bind_public
from serving.app import Limits, create_apps
from serving.server import Listening, run
from tests.serving.fakes import InMemoryFeatures, build_service


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--file-limit", type=int)
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--drain-seconds", type=float, default=0.0)
    given = parser.parse_args()
    service = build_service(given.root, serving={"deadline_ms": 30_000})
    if given.slow:
        read = InMemoryFeatures.read
        service.reader.read = lambda keys, now: (time.sleep(given.slow), read(service.reader, keys, now))[1]
    parts = replace(service.parts, clock=SystemClock(), limits=Limits(watch_seconds=0.05))
    app, admin = create_apps(parts)
    public, (beside,) = bind_public("127.0.0.1", 0, keys=None), bind_admin(0, 1)
    if given.file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.file_limit, resource.RLIM_INFINITY))
    ports = " ".join(str(one.getsockname()[1]) for one in (public, beside))
    service.book.start()
    try:
        run(
            Listening(app, public, app.rounds),
            Listening(admin, beside),
            drain=parts.drain,
            pressure=parts.pressure,
            drain_seconds=given.drain_seconds,
            on_ready=lambda: typer.echo(ports),
            # It has no trials to give up.
            on_stop=lambda: None,
        )
    finally:
        service.book.close()


if __name__ == "__main__":
    sys.exit(main())
