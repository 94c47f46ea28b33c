"""A real PostgreSQL for tests: its own cluster on a free loopback port, ended by its own process."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from tests.stores.packed.redis_server import free_port

_START_SECONDS = 60


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start an empty server and yield the address of its database; trusting, since only we see its port."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="knownat-postgres-"))
    # PostgreSQL refuses to run as root.
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        if user:
            shutil.chown(folder, "nobody", "nogroup")
        data, port = folder / "data", free_port()
        made = [binaries / "initdb", "-D", data, "-U", "knownat", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **user)
        words = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
        process = subprocess.Popen(
            [binaries / "postgres", *words],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **user,
        )
        try:
            _wait(process, port)
            yield f"postgresql+psycopg://knownat@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
    finally:
        shutil.rmtree(folder)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "postgres ended while it was starting"
        with suppress(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=port, user="knownat", dbname="postgres").close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"postgres did not answer within {_START_SECONDS} s")


def _binaries() -> Path:
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    for folder in [*found, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
