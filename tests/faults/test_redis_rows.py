"""What a reader of Redis sees when Redis is stopped, killed, emptied, slow, full or not Redis.

Every read here must end by itself: a reader that waits beyond its deadline hangs a test, which
then fails by :func:`ended`, whose bound is far above any deadline.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from knownat.errors import KnownatError, StoreFull, StoreUnavailable
from knownat.stores.redis_rows import RedisRows
from tests.faults.network import Babbler, SlowNetwork
from tests.faults.processes import finish, running, wait_for_line
from tests.faults.row_process import (
    ENTITIES,
    KEYS,
    SCHEMA,
    VIEW,
    generation_of,
    generations,
    write_generation,
)
from tests.stores.packed.redis_server import RedisServer

_FAR_ABOVE_ANY_DEADLINE = 20
Ask = Callable[[RedisRows, list[bytes]], list[bytes | None]]


def ask_on_a_thread(rows: RedisRows, keys: list[bytes]) -> list[bytes | None]:
    return rows.read(keys)


def ask_on_a_loop(rows: RedisRows, keys: list[bytes]) -> list[bytes | None]:
    async def once() -> list[bytes | None]:
        try:
            return await rows.read_async(keys)
        finally:
            await rows.close_async()

    return asyncio.run(once())


def ended(ask: Ask, rows: RedisRows, keys: list[bytes]) -> list[bytes | None] | StoreUnavailable:
    """The answer, or the named error; anything else, or no end, fails the test."""
    outcome: Future[list[bytes | None]] = Future()

    def run() -> None:
        try:
            outcome.set_result(ask(rows, keys))
        except KnownatError as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return outcome.result(_FAR_ABOVE_ANY_DEADLINE)
    except StoreUnavailable as error:
        return error


def answered(ask: Ask, rows: RedisRows, keys: list[bytes]) -> list[bytes | None]:
    """The answer of a healthy server, which a busy machine may make late."""
    for _ in range(40):
        found = ended(ask, rows, keys)
        if not isinstance(found, StoreUnavailable):
            return found
    raise AssertionError(str(found))


@pytest.fixture(params=[ask_on_a_thread, ask_on_a_loop])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


Connect = Callable[..., RedisRows]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open stores that are closed after the test; ``patient`` ones are not under test."""
    opened: list[RedisRows] = []

    def open_one(url: str, *, patient: bool = False, **options: float) -> RedisRows:
        seconds = {"socket_seconds": 10.0, "read_deadline_seconds": 10.0} if patient else {}
        opened.append(RedisRows(url, **{**seconds, **options}))
        return opened[-1]

    yield open_one
    for rows in opened:
        rows.close()


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running_server:
        write_generation(connect(running_server.url, patient=True), 1)
        yield running_server


@pytest.fixture
def rows(server: RedisServer, connect: Connect) -> RedisRows:
    return connect(server.url)


@pytest.mark.parametrize("count", [3, ENTITIES])
def test_a_stopped_redis_is_named_and_served_again_once_it_runs(
    server: RedisServer, rows: RedisRows, ask: Ask, count: int
) -> None:
    assert None not in answered(ask, rows, KEYS[:count])
    server.pause()
    for _ in range(3):
        assert isinstance(ended(ask, rows, KEYS[:count]), StoreUnavailable)
    server.resume()
    found = answered(ask, rows, KEYS[:count])
    assert {generation_of(i, KEYS[i], row or b"") for i, row in enumerate(found)} == {1}


def test_a_killed_redis_is_named_and_an_emptied_one_is_empty(
    server: RedisServer, rows: RedisRows, ask: Ask, connect: Connect
) -> None:
    assert None not in answered(ask, rows, KEYS)
    server.kill()
    assert isinstance(ended(ask, rows, KEYS), StoreUnavailable)
    server.start()
    assert set(answered(ask, rows, KEYS)) == {None}
    # It forgot the scripts and the schema too; a write brings them back.
    assert connect(server.url, patient=True).schemas(VIEW) == {}
    write_generation(rows, 2)
    assert connect(server.url, patient=True).schemas(VIEW) == {SCHEMA.identity: SCHEMA}
    found = answered(ask, rows, KEYS)
    assert {generation_of(i, KEYS[i], row or b"") for i, row in enumerate(found)} == {2}


def test_an_idle_connection_that_redis_closed_costs_no_error(server: RedisServer, connect: Connect) -> None:
    rows = connect(server.url, patient=True)
    assert None not in rows.read(KEYS[:3])
    server.kill()
    server.start()
    assert rows.read(KEYS[:3]) == [None] * 3


def test_answers_20_ms_late_are_used(server: RedisServer, ask: Ask, connect: Connect) -> None:
    with SlowNetwork(server.port, 0.02) as network:
        rows = connect(network.url, socket_seconds=0.5, read_deadline_seconds=1)
        assert None not in answered(ask, rows, KEYS)


@pytest.mark.parametrize("delay", [0.08, 0.3])
def test_later_answers_are_named_and_never_taken_for_the_next(
    server: RedisServer, ask: Ask, delay: float, connect: Connect
) -> None:
    with SlowNetwork(server.port, delay) as network:
        rows = connect(network.url)
        for key in KEYS[:3]:
            assert isinstance(ended(ask, rows, [key]), StoreUnavailable)
        network.delay = 0
        for entity in (5, 6, 7):
            (row,) = answered(ask, rows, [KEYS[entity]])
            assert generation_of(entity, KEYS[entity], row or b"") == 1


GARBAGE = {
    "noise": b"\x00\xff\xfe garbage \r\n" * 3,
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a number": b":5\r\n",
    "fewer rows": b"*1\r\n$1\r\nx\r\n",
    "a length that never comes": b"*3\r\n$500\r\nabc",
    "a length beyond reason": b"$99999999999999\r\nabc",
    "a negative length": b"*3\r\n$-7\r\n",
    "no number": b"*three\r\n",
    "nesting": b"*1\r\n" * 50,
    "an endless line": b"+" + b"x" * 200_000,
    "a wrong end": b"*3\r\n$1\r\nxyz$1\r\nx\r\n$1\r\nx\r\n",
    "an error": b"-LOADING Redis is loading the dataset in memory\r\n",
}


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_on_the_wire_is_named(ask: Ask, text: bytes, connect: Connect) -> None:
    with Babbler(text) as babbler:
        rows = connect(babbler.url)
        for keys in (KEYS[:3], KEYS):
            assert isinstance(ended(ask, rows, keys), StoreUnavailable)


def test_a_server_that_hangs_up_half_way_is_named(ask: Ask, connect: Connect) -> None:
    with Babbler(b"*3\r\n$5\r\nab", hang_up=True) as babbler:
        rows = connect(babbler.url)
        assert isinstance(ended(ask, rows, KEYS[:3]), StoreUnavailable)


def test_a_server_that_drips_cannot_hold_a_reader(ask: Ask, connect: Connect) -> None:
    drips = [b"*3\r\n$100000\r\n", *[b"x"] * 3_000]
    with Babbler(*drips, pause=0.02) as babbler:
        # No single wait is long, so only the deadline over all of them ends the read.
        rows = connect(babbler.url, socket_seconds=60)
        assert isinstance(ended(ask, rows, KEYS[:3]), StoreUnavailable)


def test_more_than_was_asked_for_is_not_kept_for_the_next_read(connect: Connect) -> None:
    row = b"$1\r\nx\r\n"
    with Babbler(b"*1\r\n" + row + b"*1\r\n" + row) as babbler:
        rows = connect(babbler.url)
        for _ in range(3):
            found = ended(ask_on_a_thread, rows, KEYS[:1])
            assert isinstance(found, StoreUnavailable)


def test_a_port_where_nothing_listens_is_named(ask: Ask, connect: Connect) -> None:
    rows = connect("redis://127.0.0.1:1/0")
    found = ended(ask, rows, KEYS[:3])
    assert isinstance(found, StoreUnavailable)
    assert "127.0.0.1:1" in str(found)


def test_a_wrong_password_is_named_without_showing_it(tmp_path: Path, ask: Ask, connect: Connect) -> None:
    with RedisServer(tmp_path, "--requirepass", "right") as server:
        rows = connect(server.url.replace("//", "//:mistaken@"))
        found = ended(ask, rows, KEYS[:3])
        assert isinstance(found, StoreUnavailable)
        assert "mistaken" not in str(found)
        right = connect(server.url.replace("//", "//:right@"))
        assert answered(ask, right, KEYS[:3]) == [None] * 3


def test_a_redis_at_its_memory_limit_is_named_and_keeps_what_it_had(tmp_path: Path, connect: Connect) -> None:
    with RedisServer(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
        rows = connect(server.url, patient=True)
        write_generation(rows, 1)
        with pytest.raises(StoreFull, match="maxmemory"):
            write_generation(rows, 2, entities=60_000)
        assert generations(rows) <= {1, 2}


def test_a_write_to_a_stopped_redis_ends_by_its_deadline(server: RedisServer, connect: Connect) -> None:
    rows = connect(server.url, write_deadline_seconds=0.3)
    server.pause()
    with pytest.raises(StoreUnavailable, match=r"within 0\.3 s"):
        write_generation(rows, 2)
    server.resume()
    rows = connect(server.url, patient=True)
    write_generation(rows, 2)
    assert generations(rows) == {2}


def test_a_flushed_script_is_told_again(server: RedisServer, ask: Ask, connect: Connect) -> None:
    rows = connect(server.url, patient=True)
    assert None not in ended_rows(ask, rows)
    rows._write.ask(b"*2\r\n$6\r\nSCRIPT\r\n$5\r\nFLUSH\r\n")
    assert None not in ended_rows(ask, rows)
    rows._write.ask(b"*2\r\n$6\r\nSCRIPT\r\n$5\r\nFLUSH\r\n")
    write_generation(rows, 2)
    assert generations(rows) == {2}


def ended_rows(ask: Ask, rows: RedisRows) -> list[bytes | None]:
    found = ended(ask, rows, KEYS)
    assert not isinstance(found, StoreUnavailable), found
    return found


def test_a_killed_writer_leaves_whole_rows_and_a_second_run_converges(
    server: RedisServer, connect: Connect
) -> None:
    rows = connect(server.url, patient=True)
    with running("write", server.url, 1, 100_000) as writer:
        last = 0
        while last < 20:
            last = int(wait_for_line(writer))
            generations(rows)  # Raises on a torn row.
        writer.kill()
        writer.wait()
    left = max(generation or 0 for generation in generations(rows))
    with running("write", server.url, 1, left + 30) as again:
        finish(again)
    assert generations(rows) == {left + 29}


def test_two_writers_lose_nothing(server: RedisServer, connect: Connect) -> None:
    with running("write", server.url, 1, 80, 2) as odd, running("write", server.url, 2, 81, 2) as even:
        finish(odd)
        finish(even)
    assert generations(connect(server.url, patient=True)) == {80}
