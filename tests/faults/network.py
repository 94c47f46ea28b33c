"""A network between a client and a real server that is slow, and a server that says what it likes."""

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self


class _Listener:
    """Accepts connections on a loopback port in threads that end with the block."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}/0"
        self._ended = threading.Event()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for opened in (self._server, *self._open):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self._open.append(client)
            self._start(self.serve, client)

    def _start(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=self._quietly, args=(target, *arguments), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _quietly(self, target: object, *arguments: object) -> None:
        assert callable(target)
        with contextlib.suppress(OSError):
            target(*arguments)

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError


class SlowNetwork(_Listener):
    """Passes everything on to a server, its answers ``delay`` seconds late."""

    def __init__(self, port: int, delay: float) -> None:
        super().__init__()
        self._port = port
        self.delay = delay

    def serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._port))
        self._open.append(server)
        self._start(self._pass_on, server, client)
        while data := client.recv(65_536):
            server.sendall(data)

    def _pass_on(self, server: socket.socket, client: socket.socket) -> None:
        while data := server.recv(65_536):
            time.sleep(self.delay)
            client.sendall(data)


class Babbler(_Listener):
    """Answers everything with the same pieces, a pause before each, and then maybe hangs up."""

    def __init__(self, *pieces: bytes, pause: float = 0.0, hang_up: bool = False) -> None:
        super().__init__()
        self._pieces = pieces
        self._pause = pause
        self._hang_up = hang_up

    def serve(self, client: socket.socket) -> None:
        while client.recv(65_536):
            for piece in self._pieces:
                self._ended.wait(self._pause)
                client.sendall(piece)
            if self._hang_up:
                client.shutdown(socket.SHUT_RDWR)
                return
