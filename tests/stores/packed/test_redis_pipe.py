"""Many questions on their way over one connection, each given its own answer or the truth about it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from knownat.stores.redis_login import RedisLogin
from knownat.stores.redis_pipe import RedisPipe
from knownat.stores.resp import NotRedis, pack
from tests.stores.packed.redis_server import RedisServer

PLENTY = 20.0
PAUSE = b"|"


class Scripted:
    """A server that answers what it is told to, connection by connection."""

    def __init__(self, *connections: Callable[[bytes], Awaitable[bytes | None]]) -> None:
        self._scripts = iter(connections)
        self.connections = 0
        self.heard: list[bytes] = []
        self._tasks: list[asyncio.Task[None] | None] = []

    async def __aenter__(self) -> "Scripted":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()
        await asyncio.gather(*filter(None, self._tasks))

    def pipe(self) -> RedisPipe:
        port = self._server.sockets[0].getsockname()[1]
        return RedisPipe(RedisLogin.at(f"redis://127.0.0.1:{port}"), connect_seconds=PLENTY)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.append(asyncio.current_task())
        script = next(self._scripts)
        while data := await reader.read(1 << 16):
            self.heard.append(data)
            answer = await script(data)
            if answer is None:
                break
            for part in answer.split(PAUSE):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.001)
        writer.close()


def one(word: str) -> bytes:
    return pack(b"ECHO", word.encode())


async def silence(_: bytes) -> bytes:
    return b""


async def hang_up(_: bytes) -> None:
    return None


async def numbered(data: bytes) -> bytes:
    return b"".join(b"$1\r\n%b\r\n" % part[-3:-2] for part in data.split(b"*2\r\n")[1:])


def test_each_of_a_thousand_questions_on_their_way_gets_its_own_answer(tmp_path: Path) -> None:
    async def ask_all() -> list[object]:
        pipe = RedisPipe(RedisLogin.at(server.url), connect_seconds=PLENTY)
        first = [pipe.ask(one(f"{i} " + "x" * (i % 700)), PLENTY) for i in range(500)]
        await first[0]
        second = [pipe.ask(one(f"{i} " + "x" * (i % 700)), PLENTY) for i in range(500, 1_000)]
        answers = await asyncio.gather(*first, *second)
        pipe.close()
        return answers

    with RedisServer(tmp_path) as server:
        answers = asyncio.run(ask_all())

    assert answers == [f"{i} {'x' * (i % 700)}".encode() for i in range(1_000)]


def test_who_still_has_time_when_another_is_late_is_asked_for_again() -> None:
    async def ask_both() -> tuple[BaseException | None, object, int]:
        async with Scripted(silence, numbered) as server:
            pipe = server.pipe()
            late, in_time = pipe.ask(one("1"), 0.05), pipe.ask(one("2"), PLENTY)
            await asyncio.wait([late])
            answer = await in_time
            pipe.close()
            return late.exception(), answer, server.connections

    late, in_time, connections = asyncio.run(ask_both())

    assert isinstance(late, TimeoutError)
    assert in_time == b"2"
    assert connections == 2


def test_a_shorter_time_given_later_is_kept_to() -> None:
    async def ask_both() -> list[str]:
        ended: list[str] = []
        async with Scripted(silence, silence) as server:
            pipe = server.pipe()
            slow, quick = pipe.ask(one("1"), 0.4), pipe.ask(one("2"), 0.05)
            slow.add_done_callback(lambda _: ended.append("slow"))
            quick.add_done_callback(lambda _: ended.append("quick"))
            await asyncio.wait([slow, quick])
            pipe.close()
        return [*ended, *(type(one.exception()).__name__ for one in (slow, quick))]

    assert asyncio.run(ask_both()) == ["quick", "slow", "TimeoutError", "TimeoutError"]


def test_what_a_lost_connection_left_open_is_asked_once_more_and_no_more() -> None:
    async def ask_once(*scripts: Callable[[bytes], Awaitable[bytes | None]]) -> tuple[object, int]:
        async with Scripted(*scripts) as server:
            pipe = server.pipe()
            (found,) = await asyncio.gather(pipe.ask(one("3"), PLENTY), return_exceptions=True)
            pipe.close()
            return found, server.connections

    answered, connections = asyncio.run(ask_once(hang_up, numbered))
    assert (answered, connections) == (b"3", 2)
    lost, connections = asyncio.run(ask_once(hang_up, hang_up, numbered))
    assert isinstance(lost, OSError)
    assert connections == 2


def test_more_than_was_asked_for_ends_the_connection_before_the_next_question() -> None:
    async def twice(data: bytes) -> bytes:
        return await numbered(data) * 2

    async def ask_two() -> tuple[object, object, int]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        async with Scripted(twice, numbered) as server:
            pipe = server.pipe()
            first = await pipe.ask(one("1"), PLENTY)
            second = await pipe.ask(one("2"), PLENTY)
            pipe.close()
            return first, second, server.connections

    broken: list[object] = []
    assert asyncio.run(ask_two()) == (b"1", b"2", 2)
    assert broken == []


def test_nonsense_is_not_asked_again() -> None:
    async def nonsense(_: bytes) -> bytes:
        return b"HTTP/1.1 400 Bad Request\r\n\r\n"

    async def ask_two() -> tuple[list[object], int]:
        async with Scripted(nonsense) as server:
            pipe = server.pipe()
            found = await asyncio.gather(
                pipe.ask(one("1"), PLENTY), pipe.ask(one("2"), PLENTY), return_exceptions=True
            )
            pipe.close()
            return found, server.connections

    found, connections = asyncio.run(ask_two())

    assert [type(one) for one in found] == [NotRedis, NotRedis]
    assert connections == 1


def test_an_answer_in_pieces_is_put_together() -> None:
    async def ask_one(cut: int) -> object:
        sent = b"*3\r\n$4\r\nabcd\r\n$-1\r\n:12\r\n"

        async def in_pieces(_: bytes) -> bytes:
            return sent[:cut] + PAUSE + sent[cut:]

        async with Scripted(in_pieces) as server:
            pipe = server.pipe()
            answer = await pipe.ask(one("1"), PLENTY)
            pipe.close()
            return answer

    found = [asyncio.run(ask_one(cut)) for cut in range(1, 25, 3)]

    assert found == [[b"abcd", None, 12]] * len(found)


def test_closing_ends_what_waits() -> None:
    async def ask_and_close() -> list[object]:
        async with Scripted(silence) as server:
            pipe = server.pipe()
            asked = [pipe.ask(one("1"), PLENTY)]
            while not server.heard:
                await asyncio.sleep(0.001)
            asked.append(pipe.ask(one("2"), PLENTY))
            pipe.close()
            return list(await asyncio.gather(*asked, return_exceptions=True))

    assert [type(one) for one in asyncio.run(ask_and_close())] == [ConnectionAbortedError] * 2


@pytest.mark.parametrize("password", ["", ":guess@"])
def test_a_refused_login_is_told_to_each_who_asks(tmp_path: Path, password: str) -> None:
    async def ask_twice(port: int) -> list[object]:
        pipe = RedisPipe(RedisLogin.at(f"redis://{password}127.0.0.1:{port}/1"), connect_seconds=PLENTY)
        found = await asyncio.gather(
            pipe.ask(one("1"), PLENTY), pipe.ask(one("2"), PLENTY), return_exceptions=True
        )
        pipe.close()
        return list(found)

    with RedisServer(tmp_path, "--requirepass", "right") as server:
        found = asyncio.run(ask_twice(server.port))

    assert [type(one).__name__ for one in found] == ["LoginRefused", "LoginRefused"]
