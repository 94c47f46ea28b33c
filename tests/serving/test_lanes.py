"""A call on a lane is ended once: by its thread, that answers, or by the loop, that waits no longer."""

import asyncio
import threading

import pytest

from serving.lanes import Claim, Lane, LaneLate


@pytest.fixture
def lane():
    lane = Lane("test", deadline=30)
    yield lane
    lane.close()


def test_a_call_that_took_its_claim_in_time_is_waited_for_past_the_deadline(lane):
    claim, may_end = Claim(), threading.Event()

    def call():
        mine = claim.take()
        may_end.wait(30)
        return mine

    async def run():
        waited = asyncio.ensure_future(lane.run(call, deadline=0.05, claim=claim))
        done, _ = await asyncio.wait({waited}, timeout=0.2)
        may_end.set()
        return len(done), await waited

    assert asyncio.run(run()) == (0, True)


def test_a_call_that_comes_to_its_claim_after_the_deadline_does_not_get_it(lane):
    claim, may_end, taken = Claim(), threading.Event(), []

    def call():
        may_end.wait(30)
        taken.append(claim.take())

    async def run():
        with pytest.raises(LaneLate):
            await lane.run(call, deadline=0.05, claim=claim)
        may_end.set()
        await lane.run(lambda: None)

    asyncio.run(run())
    assert taken == [False]


def test_without_a_claim_the_deadline_ends_the_wait(lane):
    may_end = threading.Event()

    async def run():
        with pytest.raises(LaneLate):
            await lane.run(lambda: may_end.wait(30), deadline=0.05)
        may_end.set()

    asyncio.run(run())


def test_a_call_that_was_given_up_before_it_began_is_never_made(lane):
    may_end, made = threading.Event(), []

    async def run():
        hanging = asyncio.ensure_future(lane.run(lambda: may_end.wait(30)))
        await asyncio.sleep(0)
        with pytest.raises(LaneLate):
            await lane.run(lambda: made.append("from the loop"), deadline=0.01)
        may_end.set()
        await hanging
        await lane.run(lambda: None)

    asyncio.run(run())
    assert made == []


def test_a_lane_waits_no_longer_than_it_may():
    short, may_end, made = Lane("short", deadline=0.01), threading.Event(), []

    async def run():
        with pytest.raises(LaneLate):
            await short.run(lambda: may_end.wait(30), deadline=30)

    asyncio.run(run())
    with pytest.raises(LaneLate):
        short.wait(lambda: made.append("behind one that hangs"))
    may_end.set()
    short._pool.submit(lambda: None).result(30)  # behind all that waited
    assert made == []
    short.close()


def test_a_thread_that_waits_for_a_lane_waits_no_longer_than_its_deadline():
    lane, may_end = Lane("test", deadline=0.05), threading.Event()
    try:
        with pytest.raises(LaneLate):
            lane.wait(lambda: may_end.wait(20))
    finally:
        may_end.set()
        lane.close()
