"""A store that waits for another process: late rows are given up, lost ones told from unknown entities."""

import asyncio

import pytest

from knownat.contract.read_plan import Status
from knownat.stores.packed_read import OneRow
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
