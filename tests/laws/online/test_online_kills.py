"""Law 9 through Feast's API: kill a writer anywhere; readers see whole rows, and a second run converges."""

import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import pytest

from knownat.clock import to_us
from tests.laws.online.gauges import Reading, as_arrow, as_feast, gauge_key, gauge_view
from tests.soak import scale
from tests.stores.online.shop_views import NOW, Shop

FEATURES = ("level", "count", "note")
VIEW = gauge_view(*FEATURES, ttl_us=10**12)
MANY = 300
LAST = 40

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def generation(number: int) -> list[Reading]:
    """A batch in which everything follows from its number, so that a mixed or torn row shows."""
    when = to_us(NOW) - 10_000_000 + number
    note = f"{number}-" * (1 + number % 9)
    return [Reading(gauge, when, when, (number / 2, gauge * 1_000 + number, note)) for gauge in range(MANY)]


def write(shop: Shop, number: int) -> None:
    if number % 2:
        shop.online.write_arrow(shop.feast.config, VIEW, as_arrow(generation(number), FEATURES))
    else:
        shop.online.online_write_batch(shop.feast.config, VIEW, as_feast(generation(number), FEATURES))


def generations(shop: Shop) -> set[int]:
    """The numbers that the gauges' rows say, once every part of each agrees."""
    keys = [gauge_key(gauge) for gauge in range(MANY)]
    found = shop.online.online_read(shop.feast.config, VIEW, keys)
    numbers = set()
    for gauge, (when, values) in enumerate(found):
        assert when is not None
        assert values is not None
        number = to_us(when) - to_us(NOW) + 10_000_000
        wanted = generation(number)[gauge].values
        assert (values["level"].double_val, values["count"].int64_val, values["note"].string_val) == wanted
        numbers.add(number)
    return numbers


@contextmanager
def writer(shop: Shop, first: int, last: int) -> Iterator[BaseProcess]:
    """A process that writes generations; forked, since it then has Feast already."""

    def run() -> None:
        for number in range(first, last + 1):
            write(shop, number)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("seed", range(scale(3, 60)))
def test_a_writer_killed_anywhere_leaves_whole_rows_and_a_second_run_converges(shop: Shop, seed: int) -> None:
    dice = random.Random(seed)
    write(shop, 1)
    with writer(shop, 2, LAST) as process:
        ends = time.monotonic() + dice.uniform(0.02, 0.3)
        while time.monotonic() < ends:
            assert generations(shop) <= set(range(1, LAST + 1))
        process.kill()
        process.join()
    before = generations(shop)
    assert before <= set(range(1, LAST + 1))
    with writer(shop, 1, LAST) as again:
        again.join(120)
        assert again.exitcode == 0
    assert generations(shop) == {LAST}


def test_a_reader_sees_whole_rows_and_of_lmdb_whole_batches(shop: Shop) -> None:
    whole = type(shop.online).__name__ == "LmdbOnlineStore"
    write(shop, 1)
    with writer(shop, 2, LAST) as process:
        while process.is_alive():
            numbers = generations(shop)
            # Redis takes a batch in several scripts: two generations may be there, never half a row.
            assert len(numbers) <= (1 if whole else 2)
        assert process.exitcode == 0
    assert generations(shop) == {LAST}
