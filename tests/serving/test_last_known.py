"""What is remembered of rows that were read, and who finds out that a store answers again."""

import asyncio

import pytest

from knownat.contract.read_plan import Status
from knownat.stores.packed_read import OneRow
from serving.errors import StoreUnavailable
from serving.reading import ReadFailed
from serving.stored_features import JointFeatures, StoredFeatures
from tests.serving.fakes import NOW_US, PLAN

DOWN = ReadFailed("no answer in time", store=True)
VALUES = [1, 2.0, "neu", 3.0, True]


class Store:
    """Gives one row to everybody, or fails, or keeps whoever asks waiting."""

    waits = True

    def __init__(self, *status):
        self.row = OneRow(VALUES, [NOW_US, NOW_US], [NOW_US, NOW_US], list(status))
        self.failure = None
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def one(self, keys, now_us, seconds):
        self.asked += 1
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return self.row


def ask(features, customer):
    return features.one({"customer_id": customer, "sku": "A-1"}, NOW_US, 1.0)


def test_the_entities_that_were_asked_for_last_are_remembered(monkeypatch):
    monkeypatch.setattr("serving.stored_features._REMEMBERED_ROWS", 2)
    store = Store(Status.PRESENT, Status.PRESENT)
    features = StoredFeatures("basket", PLAN, store, "last_known")

    async def run():
        for customer in (1, 2, 1, 3):
            await ask(features, customer)
        store.failure = DOWN
        kept = [(await ask(features, customer)).values for customer in (1, 3)]
        with pytest.raises(StoreUnavailable):
            await ask(features, 2)
        return kept

    assert asyncio.run(run()) == [VALUES, VALUES]


def test_a_row_that_was_not_served_then_is_not_served_now():
    store = Store(Status.NOT_YET, Status.PRESENT)
    features = StoredFeatures("basket", PLAN, store, "last_known")

    async def run():
        await ask(features, 1)
        store.failure = DOWN
        return await ask(features, 1)

    row = asyncio.run(run())
    assert row.status == [Status.UNAVAILABLE, Status.LAST_KNOWN]
    assert row.values == [None, None, None, 3.0, True]
    assert row.event_us == [None, NOW_US]


def test_one_request_finds_out_whether_the_store_answers_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("serving.stored_features.time.monotonic", lambda: now[0])
    store = Store(Status.PRESENT, Status.PRESENT)
    features = StoredFeatures("basket", PLAN, store, "nulls")

    async def run():
        store.failure = DOWN
        await ask(features, 1)
        now[0] += 0.26
        store.failure = None
        store.answers.clear()
        first = asyncio.ensure_future(ask(features, 1))
        await asyncio.sleep(0)
        others = [(await asyncio.wait_for(ask(features, 1), 10)).status[0] for _ in range(5)]
        store.answers.set()
        return others, (await first).status[0], (await ask(features, 1)).status[0]

    assert asyncio.run(run()) == ([Status.UNAVAILABLE] * 5, Status.PRESENT, Status.PRESENT)
    assert store.asked == 3


class Packed:
    """Packed rows of a store that does not answer."""

    waits = True
    asked = 0

    def together(self, asked, seconds, then):
        self.asked += 1
        then(DOWN)


def test_questions_together_are_not_asked_of_a_store_that_rests_and_get_what_stands_in():
    packed, found = Packed(), []
    features = JointFeatures("basket", PLAN, packed, "nulls")

    for _ in range(3):
        features.together([{"customer_id": 1, "sku": "A-1"}], 1.0, found.append)
        row = features.row({"customer_id": 1, "sku": "A-1"}, NOW_US, found[-1], 0)
        assert row.status == [Status.UNAVAILABLE] * 2

    assert (packed.asked, features.failures) == (1, 3)


class Many:
    """Many rows of a store, of which no read succeeds."""

    waits = True

    def __init__(self, failure):
        self.failure = failure
        self.asked = 0

    def many(self, keys, now_us):
        self.asked += 1
        raise self.failure


def test_rows_that_cannot_be_trusted_are_not_read_one_by_one_only_to_be_refused():
    store = Many(ReadFailed("CorruptRow", store=False))
    features = StoredFeatures("basket", PLAN, store, "refuse")

    with pytest.raises(StoreUnavailable):
        features.many({"customer_id": [1, 2, 3], "sku": ["A-1"] * 3}, NOW_US)

    assert store.asked == 1


def test_a_row_that_cannot_be_trusted_keeps_nobody_from_asking_for_another():
    store = Store(Status.PRESENT, Status.PRESENT)
    features = StoredFeatures("basket", PLAN, store, "nulls")

    async def run():
        store.failure = ReadFailed("CorruptRow", store=False)
        await ask(features, 1)
        store.failure = None
        return (await ask(features, 2)).status

    assert asyncio.run(run()) == [Status.PRESENT] * 2
    assert store.asked == 2


def test_one_row_that_is_read_ends_the_rest_of_its_store(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("serving.stored_features.time.monotonic", lambda: now[0])
    store = Store(Status.PRESENT, Status.PRESENT)
    features = StoredFeatures("basket", PLAN, store, "nulls")

    async def run():
        store.failure = DOWN
        await ask(features, 1)
        store.failure = None
        now[0] += 0.26
        return [(await ask(features, 1)).status[0] for _ in range(3)]

    assert asyncio.run(run()) == [Status.PRESENT] * 3
    assert store.asked == 4
