"""A small object store that speaks enough S3 for readers and writers: get, put, head and list."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class ObjectStore:
    """Objects by ``bucket/key``, and what was asked of them."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and the access key of the signature."""


class Handler(BaseHTTPRequestHandler):
    store: ObjectStore
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path, query = self.asked()
        if "list-type" in query:
            self.answer(200, listing(self.store, path.strip("/"), query.get("prefix", [""])[0]))
            return
        self.send_object(path)

    def do_HEAD(self) -> None:
        self.send_object(self.asked()[0])

    def do_PUT(self) -> None:
        path, _ = self.asked()
        self.store.objects[path] = self.rfile.read(int(self.headers["content-length"]))
        self.answer(200, b"", ETag='"1"')

    def asked(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        signer = self.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        self.store.seen.append((self.command, parts.path, signer))
        return unquote(parts.path).lstrip("/"), parse_qs(parts.query)

    def send_object(self, path: str) -> None:
        whole = self.store.objects.get(path)
        if whole is None:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        headers = {
            "ETag": '"1"',
            "Last-Modified": "Fri, 29 Mar 2024 00:00:00 GMT",
            "Accept-Ranges": "bytes",
        }
        wanted = self.headers.get("range")
        if wanted is None:
            self.answer(200, whole, **headers)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(whole) - int(last))
        end = min(int(last) if first and last else len(whole) - 1, len(whole) - 1)
        span = {"Content-Range": f"bytes {start}-{end}/{len(whole)}"}
        self.answer(206, whole[start : end + 1], **headers, **span)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Serve an empty store on a port of this machine."""
    store = ObjectStore()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"store": store}))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    store.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def listing(store: ObjectStore, bucket: str, prefix: str) -> bytes:
    """List a bucket's objects as ListObjectsV2 does."""
    rows = "".join(
        f"<Contents><Key>{escape(path.removeprefix(bucket + '/'))}</Key><Size>{len(body)}</Size>"
        '<LastModified>2024-03-29T00:00:00.000Z</LastModified><ETag>"1"</ETag></Contents>'
        for path, body in sorted(store.objects.items())
        if path.startswith(f"{bucket}/{prefix}")
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false"
        f"</IsTruncated>{rows}</ListBucketResult>"
    ).encode()
