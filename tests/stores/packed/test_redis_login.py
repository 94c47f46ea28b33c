"""Logins read from URLs as redis-py reads them, and used over TLS, sockets of this machine and with names."""

import asyncio
import datetime as dt
import gc
import warnings
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from knownat.errors import StoreUnavailable
from knownat.stores.redis_login import RedisLogin
from knownat.stores.redis_rows import RedisRows
from tests.stores.packed.redis_server import RedisServer, free_port

KEYS = [b"a", b"b"]
Ask = Callable[[RedisRows], list[bytes | None]]


def on_a_thread(rows: RedisRows) -> list[bytes | None]:
    return rows.read(KEYS)


def on_a_loop(rows: RedisRows) -> list[bytes | None]:
    async def once() -> list[bytes | None]:
        try:
            return await rows.read_async(KEYS)
        finally:
            await rows.close_async()

    return asyncio.run(once())


@pytest.fixture(params=[on_a_thread, on_a_loop])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


def test_a_store_that_is_let_go_of_closes_its_connections(redis_url: str) -> None:
    rows = RedisRows(redis_url, socket_seconds=10, read_deadline_seconds=10)
    rows.read(KEYS)
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        del rows
        gc.collect()

    assert [str(one.message) for one in complaints] == []


def asked(ask: Ask, url: str) -> list[bytes | None]:
    rows = RedisRows(url, socket_seconds=10, read_deadline_seconds=10)
    try:
        return ask(rows)
    finally:
        rows.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://cache",
        "redis://cache:6380/2",
        "redis://me:p%40ss@cache",
        "redis://:p%2Fss@[::1]:1/0",
        "redis://:@cache/",
        "redis://cache/1?username=me&password=x&db=4&client_name=scorer",
        "rediss://cache?ssl_cert_reqs=none&ssl_ca_certs=%2Fa+b%2Fca.pem",
        "unix:///run/redis.sock?db=3",
        "unix://me:pw@/run/redis.sock",
    ],
)
def test_a_url_means_what_it_means_to_redis_py(url: str) -> None:
    theirs = redis.ConnectionPool.from_url(url).connection_kwargs
    ours = RedisLogin.at(url)

    assert ours.host == theirs.get("host", "localhost")
    assert ours.port == theirs.get("port", 6379)
    assert ours.path == theirs.get("path")
    assert ours.database == theirs.get("db", 0)
    assert ours.username == theirs.get("username")
    assert ours.password == theirs.get("password")
    assert ours.client_name == theirs.get("client_name")
    if ours.tls is not None:
        assert ours.tls == {name: value for name, value in theirs.items() if name.startswith("ssl_")}
    assert (ours.tls is not None) == url.startswith("rediss")


def test_a_database_a_name_and_a_user_are_told_to_redis(tmp_path: Path, ask: Ask) -> None:
    acl = tmp_path / "users.acl"
    acl.write_text("user default off\nuser me on >secret ~* +@all\n")
    with RedisServer(tmp_path, "--aclfile", str(acl)) as server:
        at = f"127.0.0.1:{server.port}"
        with redis.Redis.from_url(f"redis://me:secret@{at}/7") as theirs:
            theirs.set(b"knownat:r:a", b"row")
            assert asked(ask, f"redis://me:secret@{at}/7?client_name=scorer") == [b"row", None]
            assert asked(ask, f"redis://me:secret@{at}/6") == [None, None]
        for wrong in (f"redis://me:guess@{at}/7", f"redis://{at}/7", f"redis://me:secret@{at}/99"):
            with pytest.raises(StoreUnavailable):
                asked(ask, wrong)


def test_a_name_is_seen_by_redis(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url) as theirs:
        rows = RedisRows(f"{server.url}?client_name=scorer", socket_seconds=10, read_deadline_seconds=10)
        rows.read(KEYS)
        assert "scorer" in {client["name"] for client in theirs.client_list()}
        rows.close()


def test_a_socket_of_this_machine_is_reached(tmp_path: Path, ask: Ask) -> None:
    path = tmp_path / "redis.sock"
    with (
        RedisServer(tmp_path, "--unixsocket", str(path)) as server,
        redis.Redis.from_url(server.url) as other,
    ):
        other.set(b"knownat:r:b", b"row")
        assert asked(ask, f"unix://{path}") == [None, b"row"]


def test_an_encrypted_connection_is_made_only_to_whom_the_authority_vouches_for(
    tmp_path: Path, ask: Ask
) -> None:
    certificate, key = make_certificate(tmp_path)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    with RedisServer(tmp_path, *options, "--tls-auth-clients", "no"):
        trusting = f"ssl_ca_certs={certificate}"
        assert asked(ask, f"rediss://127.0.0.1:{port}/0?{trusting}") == [None, None]
        assert asked(ask, f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none") == [None, None]
        other_name = f"rediss://localhost:{port}/0?{trusting}"
        assert asked(ask, f"{other_name}&ssl_check_hostname=false") == [None, None]
        for refused in (f"rediss://127.0.0.1:{port}/0", other_name):
            with pytest.raises(StoreUnavailable, match="certificate"):
                asked(ask, refused)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a key and a certificate for 127.0.0.1, which vouches for itself."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, secret.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate, key = folder / "redis.pem", folder / "redis.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, key
