"""A scorer in a process of its own, spoken to over HTTP, as a service would."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 120
_STOP_SECONDS = 30


class ScorerError(RuntimeError):
    """The scorer did not start, or answered something else than success."""


class ScorerClient:
    """One keep-alive connection to a scorer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: object) -> dict[str, object]:
        """Post one JSON document and return the answer.

        Raises
        ------
        ScorerError
            If the answer is not a success; the message carries the scorer's own.
        """
        self._connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise ScorerError(f"POST {path}: {response.status}: {content.decode(errors='replace')[:500]}")
        answer: dict[str, object] = json.loads(content)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def running_scorer(repo: Path, *, clock: Path, folder: Path) -> Iterator[ScorerClient]:
    """Start ``knownat serve`` on a free loopback port, and stop it with SIGTERM afterwards.

    Raises
    ------
    ScorerError
        If it does not become ready, or does not exit 0 after the drain.
    """
    port_file = folder / "scorer.port"
    port_file.unlink(missing_ok=True)
    log = folder / "scorer.log"
    command = [str(Path(sys.executable).with_name("knownat")), "serve", "--repo", str(repo), "--port", "0"]
    command += ["--port-file", str(port_file), "--clock", f"file:{clock}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        client = ScorerClient(_wait_until_ready(process, port_file, log))
        yield client
        client.close()
    finally:
        code = _stop(process)
    if code != 0:
        raise ScorerError(f"The scorer exited with {code} after SIGTERM; its log is {log}.")


def _wait_until_ready(process: subprocess.Popen[bytes], port_file: Path, log: Path) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ScorerError(f"The scorer stopped at once:\n{log.read_text(errors='replace')[-2000:]}")
        if port_file.is_file() and (text := port_file.read_text().strip()) and _is_ready(int(text)):
            return int(text)
        time.sleep(0.1)
    raise ScorerError(f"The scorer was not ready within {_START_SECONDS} s; its log is {log}.")


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
