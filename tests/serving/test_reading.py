"""A store that waits for another process: late rows are given up, lost ones told from unknown entities."""

import asyncio
from types import SimpleNamespace

import pytest

from knownat.contract.read_plan import Status
from knownat.errors import StoreUnavailable
from knownat.stores.packed_read import OneRow
from serving import reading
from serving.reading import PackedFeatures, ReadFailed
from tests.serving.fakes import KEYS, NOW_US

NOTHING = OneRow([None], [None], [None], [Status.NOT_FOUND])


class Waiting:
    """A reader of a store that holds no row; it may never answer, and may have lost everybody's."""

    waits = True

    def __init__(self, *, lost=False, hangs=False):
        self._lost = lost
        self._hangs = hangs
        self.looks = 0

    def lost(self):
        self.looks += 1
        return self._lost

    async def read_one_async(self, keys, now_us):
        await asyncio.sleep(10 if self._hangs else 0)
        return NOTHING


class Found:
    """What a joint read gave: no row for anybody."""

    def row(self, place, now_us):
        return NOTHING


class AtHand(Waiting):
    """A reader of a store in this process; it may fail."""

    waits = False

    def __init__(self, *, lost=False, failure=None):
        super().__init__(lost=lost)
        self.failure = failure

    def read_one(self, keys, now_us):
        if self.failure is not None:
            raise self.failure
        return NOTHING

    def read(self, keys, now_us):
        raise self.failure


@pytest.mark.parametrize("failure", [StoreUnavailable("redis://:canary@host"), OSError("canary")], ids=repr)
def test_what_a_store_says_of_its_failure_is_not_repeated(failure):
    features = PackedFeatures(AtHand(failure=failure))

    with pytest.raises(ReadFailed, match=f"^{type(failure).__name__}$"):
        features.many({name: [value] for name, value in KEYS.items()}, NOW_US)
    with pytest.raises(ReadFailed, match=f"^{type(failure).__name__}$"):
        asyncio.run(features.one(KEYS, NOW_US, 10.0))


def test_a_store_that_lost_its_rows_is_looked_at_again_after_a_while(monkeypatch):
    seconds = [100.0]
    monkeypatch.setattr(reading, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    reader = AtHand(lost=True)
    features, again = PackedFeatures(reader), 100.0 + reading._LOOK_AGAIN_SECONDS

    def read():
        return asyncio.run(features.one(KEYS, NOW_US, 10.0))

    for seconds[0] in (100.0, again - 0.001):
        with pytest.raises(ReadFailed, match="the store has lost its rows"):
            read()
        reader._lost = False
    seconds[0] = again

    assert read() is NOTHING
    assert reader.looks == 2


def test_a_row_that_does_not_come_in_time_is_given_up():
    with pytest.raises(ReadFailed, match="no answer in time"):
        asyncio.run(PackedFeatures(Waiting(hangs=True)).one(KEYS, NOW_US, 0.02))


@pytest.mark.parametrize("lost", [True, False])
def test_the_rows_of_a_joint_read_are_told_from_lost_ones_after_one_look_beside_the_loop(lost):
    reader = Waiting(lost=lost)
    features = PackedFeatures(reader)

    assert features.row(Found(), 0, NOW_US) is None
    assert reader.looks == 0

    async def run():
        return await features.one(KEYS, NOW_US, 10.0)

    if not lost:
        assert asyncio.run(run()) is NOTHING
        assert features.row(Found(), 0, NOW_US) is NOTHING
    else:
        for read in (lambda: asyncio.run(run()), lambda: features.row(Found(), 0, NOW_US)):
            with pytest.raises(ReadFailed, match="lost its rows"):
                read()
    assert reader.looks == 1
