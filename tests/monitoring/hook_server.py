"""A real HTTP server on loopback that answers as it is told, and remembers what it was sent."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HookServer(ThreadingHTTPServer):
    """Answers the nth request with the nth of ``answers``, and from then on with the last.

    A status may be followed by when to come again: ``"429 2"``.
    """

    daemon_threads = True

    def __init__(self, answers: Sequence[int | str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.received: list[object] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: HookServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers[min(len(self.server.received), len(self.server.answers) - 1)]
        self.server.received.append(json.loads(body))
        if answer == "hang":
            time.sleep(5)
            return
        if answer == "trickle":
            # One byte of a header at a time: no socket ever waits for long.
            try:
                for _ in range(100):
                    self.wfile.write(b"H")
                    self.wfile.flush()
                    time.sleep(0.05)
            except OSError:
                pass
            return
        if answer == "nonsense":
            self.wfile.write(b"no HTTP\r\n")
            return
        if answer == "drop":
            self.connection.close()
            return
        status, _, retry_after = str(answer).partition(" ")
        self.send_response(int(status))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        if answer == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass

    def log_request(self, *_args: object) -> None:
        pass


@contextmanager
def hook_server(*answers: int | str) -> Iterator[HookServer]:
    server = HookServer(answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
