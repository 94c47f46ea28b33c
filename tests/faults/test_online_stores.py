"""What a caller of Feast's API meets when the packed store beneath it fails: a named error, in time.

The stores themselves are put to the test in ``test_lmdb_rows`` and ``test_redis_rows``. A read that
does not end by itself fails by :func:`ended`, whose bound is far above any deadline.
"""

import asyncio
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import lmdb
import pytest
from feast.repo_config import RepoConfig

from knownat.clock import FileClock, to_us
from knownat.errors import CorruptRow, KnownatError, StoreFull, StoreUnavailable, UnknownSchema
from knownat.stores.lmdb_online import LmdbOnlineStore
from knownat.stores.packed_online import PackedOnlineStore
from knownat.stores.packed_reads import view_name
from knownat.stores.redis_online import RedisOnlineStore
from tests.faults.network import Babbler, SlowNetwork
from tests.laws.online.gauges import Reading, as_feast, gauge_key, gauge_view
from tests.stores.online.shop_views import NOW
from tests.stores.packed.redis_server import RedisServer, free_port

FAR_ABOVE_ANY_DEADLINE = 20
FEATURES = ("level", "count", "note")
VIEW = gauge_view(*FEATURES, ttl_us=10**12)
KEYS = [gauge_key(gauge) for gauge in range(300)]
PATIENT = {"socket_seconds": 10, "read_deadline_seconds": 10}

Answer = list[Any]


class Gauges:
    """One online store as Feast holds it."""

    def __init__(self, store: PackedOnlineStore, config: RepoConfig) -> None:
        self.store = store
        self.config = config

    def write(self, number: int, *, gauges: int = len(KEYS)) -> None:
        when = to_us(NOW) - 1_000_000 + number
        rows = [Reading(gauge, when, when, (number / 2, number, "n" * 20)) for gauge in range(gauges)]
        self.store.online_write_batch(self.config, VIEW, as_feast(rows, FEATURES))

    def read(self, many: int) -> Answer:
        return self.store.online_read(self.config, VIEW, KEYS[:many])

    async def read_async(self, many: int) -> Answer:
        try:
            return await self.store.online_read_async(self.config, VIEW, KEYS[:many])
        finally:
            await self.store.close()


def ask_on_a_thread(gauges: Gauges, many: int) -> Answer:
    return gauges.read(many)


def ask_on_a_loop(gauges: Gauges, many: int) -> Answer:
    return asyncio.run(gauges.read_async(many))


Ask = Callable[[Gauges, int], Answer]


@pytest.fixture(params=[ask_on_a_thread, ask_on_a_loop])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


def ended(ask: Ask, gauges: Gauges, many: int = len(KEYS)) -> Answer | StoreUnavailable:
    """The answer, or the named error; anything else, or no end, fails the test."""
    outcome: Future[Answer] = Future()

    def run() -> None:
        try:
            outcome.set_result(ask(gauges, many))
        except KnownatError as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return outcome.result(FAR_ABOVE_ANY_DEADLINE)
    except StoreUnavailable as error:
        return error


def levels(ask: Ask, gauges: Gauges, many: int = len(KEYS)) -> set[float | None]:
    """The levels that a healthy store gives, which a busy machine may make late."""
    for _ in range(40):
        found = ended(ask, gauges, many)
        if not isinstance(found, StoreUnavailable):
            return {None if values is None else values["level"].double_val for _, values in found}
    raise AssertionError(str(found))


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., RepoConfig]:
    clock = tmp_path / "clock"
    FileClock(clock).move_to(to_us(NOW))

    def configure(kind: str, **online: Any) -> RepoConfig:
        return RepoConfig(
            project="shop",
            provider="local",
            registry="registry.db",
            online_store={"type": kind, "clock": f"file:{clock}", **online},
            entity_key_serialization_version=3,
            repo_path=tmp_path,
        )

    return configure


Connect = Callable[..., Gauges]


@pytest.fixture
def connect(configured: Callable[..., RepoConfig]) -> Iterator[Connect]:
    """Open a Redis store by its connection string, closed after the test."""
    opened: list[Gauges] = []

    def open_one(connection_string: str, **options: float) -> Gauges:
        kind = "knownat.stores.redis_online.RedisOnlineStore"
        config = configured(kind, connection_string=connection_string, **options)
        opened.append(Gauges(RedisOnlineStore(), config))
        return opened[-1]

    yield open_one
    for gauges in opened:
        asyncio.run(gauges.store.close())


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        connect(running.url, **PATIENT).write(1)
        yield running


@pytest.mark.parametrize("many", [1, 300])
def test_a_stopped_redis_is_named_and_served_again_once_it_runs(
    server: RedisServer, connect: Connect, ask: Ask, many: int
) -> None:
    gauges = connect(f"127.0.0.1:{server.port}")
    assert levels(ask, gauges, many) == {0.5}
    server.pause()
    for _ in range(3):
        assert isinstance(ended(ask, gauges, many), StoreUnavailable)
    server.resume()
    assert levels(ask, gauges, many) == {0.5}


def test_a_killed_redis_is_named_and_an_emptied_one_is_filled_by_the_next_write(
    server: RedisServer, connect: Connect, ask: Ask
) -> None:
    gauges = connect(server.url)
    assert levels(ask, gauges) == {0.5}
    server.kill()
    assert isinstance(ended(ask, gauges), StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        gauges.write(2)
    server.start()
    assert levels(ask, gauges) == {None}
    gauges.write(2)
    assert levels(ask, gauges) == {1.0}


def test_answers_20_ms_late_are_used(server: RedisServer, connect: Connect, ask: Ask) -> None:
    with SlowNetwork(server.port, 0.02) as network:
        assert levels(ask, connect(network.url, socket_seconds=0.5, read_deadline_seconds=1)) == {0.5}


@pytest.mark.parametrize("delay", [0.08, 0.3])
def test_later_answers_are_named_and_never_taken_for_the_next(
    server: RedisServer, connect: Connect, ask: Ask, delay: float
) -> None:
    with SlowNetwork(server.port, delay) as network:
        gauges = connect(network.url)
        assert isinstance(ended(ask, gauges), StoreUnavailable)
        network.delay = 0
        assert levels(ask, gauges) == {0.5}


@pytest.mark.parametrize(
    "text",
    [b"\x00\xff\xfe garbage \r\n" * 3, b"HTTP/1.1 400 Bad Request\r\n\r\n", b":5\r\n", b"-LOADING soon\r\n"],
    ids=["noise", "http", "a number", "an error"],
)
def test_garbage_on_the_wire_is_named(connect: Connect, ask: Ask, text: bytes) -> None:
    with Babbler(text) as babbler:
        assert isinstance(ended(ask, connect(babbler.url)), StoreUnavailable)


def test_a_row_that_was_changed_in_the_store_is_refused(server: RedisServer, connect: Connect) -> None:
    gauges = connect(server.url, **PATIENT)
    rows: Any = gauges.store.row_store(gauges.config)
    prefix = b"knownat:r:" + view_name(gauges.config, VIEW).prefix
    key = prefix + b"\1" + (2**63).to_bytes(8, "big")
    rows._write.ask(b"*4\r\n$8\r\nSETRANGE\r\n$%d\r\n%b\r\n$2\r\n40\r\n$1\r\nX\r\n" % (len(key), key))
    for many in (1, 300):
        with pytest.raises(CorruptRow, match="shop/gauges: 1 stored row"):
            gauges.read(many)


def test_a_password_is_given_as_feast_does_and_shown_nowhere(
    tmp_path: Path, connect: Connect, ask: Ask
) -> None:
    with RedisServer(tmp_path, "--requirepass", "right") as locked:
        wrong = ended(ask, connect(f"127.0.0.1:{locked.port},password=mistaken"))
        assert isinstance(wrong, StoreUnavailable)
        assert "mistaken" not in str(wrong)
        assert levels(ask, connect(f"127.0.0.1:{locked.port},password=right,db=3")) == {None}
        assert levels(ask, connect(f"127.0.0.1:{locked.port},username=default,password=right")) == {None}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate for this machine, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    return key, certificate


def test_a_connection_may_be_encrypted_and_the_server_must_be_who_it_says(
    tmp_path: Path, connect: Connect, ask: Ask, certificate: tuple[Path, Path]
) -> None:
    key, shown = certificate
    port = free_port()
    secured = ["--tls-port", str(port), "--tls-cert-file", str(shown), "--tls-key-file", str(key)]
    secured += ["--tls-ca-cert-file", str(shown), "--tls-auth-clients", "no", "--requirepass", "right"]
    with RedisServer(tmp_path, *secured):
        where = f"127.0.0.1:{port},ssl=true,password=right"
        gauges = connect(f"{where},ssl_ca_certs={shown}", **PATIENT)
        gauges.write(4)
        assert levels(ask, gauges) == {2.0}
        # Nobody vouches for this certificate.
        assert isinstance(ended(ask, connect(where, **PATIENT), 1), StoreUnavailable)
        assert levels(ask, connect(f"{where},ssl_cert_reqs=none,ssl_check_hostname=false", **PATIENT)) == {
            2.0
        }
        assert isinstance(ended(ask, connect(f"127.0.0.1:{port},password=right"), 1), StoreUnavailable)


@pytest.fixture
def folder(configured: Callable[..., RepoConfig]) -> Iterator[Connect]:
    """Open an LMDB store, closed after the test."""
    opened: list[Gauges] = []

    def open_one(**options: Any) -> Gauges:
        config = configured("knownat.stores.lmdb_online.LmdbOnlineStore", **options)
        opened.append(Gauges(LmdbOnlineStore(), config))
        return opened[-1]

    yield open_one
    for gauges in opened:
        asyncio.run(gauges.store.close())


def test_a_map_that_may_not_grow_is_named_and_keeps_what_was_there(folder: Connect, ask: Ask) -> None:
    gauges = folder(map_bytes=1 << 18, most_map_bytes=1 << 18)
    gauges.write(1)
    with pytest.raises(StoreFull, match="may not grow beyond 262144"):
        gauges.write(2, gauges=8_000)
    assert levels(ask, gauges) == {0.5}
    gauges.write(3)
    assert levels(ask, gauges) == {1.5}


def test_a_row_whose_schema_is_gone_is_refused_by_name(folder: Connect, tmp_path: Path) -> None:
    gauges = folder()
    gauges.write(1)
    asyncio.run(gauges.store.close())
    with lmdb.open(str(tmp_path / "data" / "online_rows"), max_dbs=3) as env:
        schemas = env.open_db(b"schemas")
        with env.begin(write=True) as txn:
            txn.drop(schemas, delete=False)
    for many in (1, 300):
        with pytest.raises(UnknownSchema, match="shop/gauges: a row names schema"):
            gauges.read(many)


def test_a_folder_that_is_no_store_is_named(folder: Connect, tmp_path: Path) -> None:
    rows = tmp_path / "data" / "online_rows"
    rows.mkdir(parents=True)
    (rows / "data.mdb").write_bytes(b"not a database" * 1_000)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        folder().read(1)
