"""Request bodies: of bounded length and in bounded time, however their pieces come."""

import asyncio

import pytest

from serving.bodies import Bodies, ClientGone
from serving.errors import BodyTooLarge, ClientTooSlow

GONE = {"type": "http.disconnect"}


def piece(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


class Sender:
    """Gives messages one after another, at once or only after the loop has turned; counts what was taken."""

    def __init__(self, *messages, late):
        self.messages = list(messages)
        self.late = late

    async def receive(self):
        if self.late:
            await asyncio.sleep(0)
        return self.messages.pop(0)


def received(sender, *headers, most=4):
    return asyncio.run(Bodies(most_bytes=most).receive(headers, sender.receive))


on_time = pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])


@on_time
@pytest.mark.parametrize("claim", [[], [(b"content-length", b"4")], [(b"content-length", b"four")]])
def test_pieces_make_one_body_up_to_the_limit(late, claim):
    assert received(Sender(piece(b"ab", more=True), piece(b"cd"), late=late), *claim) == b"abcd"
    assert received(Sender(piece(b"abcd"), late=late), *claim) == b"abcd"


@on_time
def test_one_piece_that_is_longer_is_refused(late):
    with pytest.raises(BodyTooLarge, match="over 4 bytes"):
        received(Sender(piece(b"abcde"), late=late))


@on_time
@pytest.mark.parametrize(
    ("headers", "unread"),
    [([], 1), ([(b"host", b"x"), (b"content-length", b"5")], 3)],
    ids=["when more has come", "when more is announced"],
)
def test_more_is_not_read_to_its_end(late, headers, unread):
    sender = Sender(*(piece(b"ab", more=True) for _ in range(4)), late=late)

    with pytest.raises(BodyTooLarge):
        received(sender, *headers)
    assert len(sender.messages) == unread


@on_time
@pytest.mark.parametrize("before", [[], [piece(b"ab", more=True)]], ids=["nothing", "a part"])
def test_who_goes_away_before_the_end_has_no_body(late, before):
    with pytest.raises(ClientGone):
        received(Sender(*before, GONE, late=late))


def test_a_body_that_is_begun_and_does_not_end_is_given_up():
    async def go():
        bodies, first = Bodies(most_seconds=0.0), [piece(b"ab", more=True)]

        async def receive():
            return first.pop() if first else await asyncio.Event().wait()

        task = asyncio.create_task(bodies.receive([], receive))
        await arriving(bodies, task)
        bodies.sweep()
        with pytest.raises(ClientTooSlow, match="not whole within 0 s"):
            await task

    in_time(go())


def test_a_body_that_does_not_come_is_given_up():
    async def go():
        bodies, never = Bodies(most_seconds=0.0), asyncio.Event()

        async def one():
            task = asyncio.current_task()
            try:
                await bodies.receive([], never.wait)
            except ClientTooSlow as late:
                told = late.status, dict(late.headers), task.cancelling()
            # What ends the task now has nothing to do with its client.
            begun.set()
            try:
                await bodies.receive([], never.wait)
            except asyncio.CancelledError:
                return told

        begun, task = asyncio.Event(), asyncio.create_task(one())
        await arriving(bodies, task)
        bodies.sweep()
        await begun.wait()
        await arriving(bodies, task)
        task.cancel()
        assert await task == (408, {"connection": "close"}, 0)
        assert bodies.arriving == {}

    in_time(go())


def test_a_body_that_still_has_time_is_waited_for():
    async def go():
        bodies, told = Bodies(), []

        async def receive():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as ended:
                told.append(type(ended))
                raise

        task = asyncio.create_task(bodies.receive([], receive))
        await arriving(bodies, task)
        bodies.sweep()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (told, bodies.arriving) == ([asyncio.CancelledError], {})

    in_time(go())


def in_time(test):
    asyncio.run(asyncio.wait_for(test, 10))


async def arriving(bodies, task):
    while task not in bodies.arriving:
        await asyncio.sleep(0)
