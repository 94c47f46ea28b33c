"""A scorer over made-up features as a process of its own: ``python -m tests.faults.scorer_process FOLDER``.

Prints its port once ready. ``--file-limit`` lets no file grow beyond so many bytes, as a full disk does;
``--slow`` makes every read take so many seconds.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import typer

from knownat.clock import SystemClock
from serving.addresses import bind
from serving.app import Limits, create_app
from serving.server import run
from tests.serving.fakes import InMemoryFeatures, build_service


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--file-limit", type=int)
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--drain-seconds", type=float, default=0.0)
    given = parser.parse_args()
    service = build_service(given.root)
    if given.slow:
        read = InMemoryFeatures.read
        service.reader.read = lambda keys, now: (time.sleep(given.slow), read(service.reader, keys, now))[1]
    app = create_app(models=service.models, book=service.book, ids=service.ids, clock=SystemClock(),
                     drain=service.drain, limits=Limits(watch_seconds=0.05))  # fmt: skip
    bound = bind("127.0.0.1", 0, allow_unauthenticated=False)
    if given.file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.file_limit, resource.RLIM_INFINITY))
    service.book.start()
    try:
        run(app, bound, drain=service.drain, drain_seconds=given.drain_seconds,
            on_ready=lambda: typer.echo(bound.getsockname()[1]))  # fmt: skip
    finally:
        service.book.close()


if __name__ == "__main__":
    sys.exit(main())
