"""Ten thousand events a second through the vectorised writer while reading: nothing lost, nothing torn."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from knownat.clock import to_us
from tests.laws.online.gauges import gauge_key, gauge_view
from tests.soak import scale
from tests.stores.online.shop_views import NOW, Shop

FEATURES = ("level", "count", "note")
VIEW = gauge_view(*FEATURES, ttl_us=10**12)
MANY = 2_000
A_BATCH = 1_000
BATCHES_A_SECOND = 10
SECONDS = scale(3, 60)
START_US = to_us(NOW) - 1_000_000_000
MOMENT = pa.timestamp("us", tz="UTC")
Int64s = npt.NDArray[np.int64]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@dataclass(frozen=True)
class Events:
    """A batch of events: of which gauge, when it happened and when it became known."""

    gauge: Int64s
    event_us: Int64s
    created_us: Int64s

    def table(self) -> pa.Table:
        """The events with values that follow from gauge and time, so that a torn row shows."""
        return pa.table(
            {
                "gauge_id": self.gauge,
                "level": self.event_us / 2,
                "count": self.gauge * 10**9 + self.created_us % 10**9,
                "note": [str(us) for us in self.event_us.tolist()],
                "event_timestamp": pa.array(self.event_us).cast(MOMENT),
                "created_timestamp": pa.array(self.created_us).cast(MOMENT),
            }
        )


def batch(number: int) -> Events:
    """The events of one tick: some late, some corrected later, some twice."""
    dice = np.random.default_rng(number)
    gauge = dice.integers(0, MANY, A_BATCH)
    event = START_US + number * 100_000 + dice.integers(0, 100_000, A_BATCH)
    event -= np.where(dice.random(A_BATCH) < 0.1, dice.integers(0, 5_000_000, A_BATCH), 0)
    created = event + np.where(dice.random(A_BATCH) < 0.2, dice.integers(0, 2_000_000, A_BATCH), 0)
    twice = np.arange(A_BATCH) % (A_BATCH - A_BATCH // 20)
    return Events(gauge[twice], event[twice], created[twice])


@contextmanager
def stream(shop: Shop) -> Iterator[BaseProcess]:
    """A process that writes a batch each tick, or as soon as it can."""

    def run() -> None:
        began = time.monotonic()
        for number in range(SECONDS * BATCHES_A_SECOND):
            time.sleep(max(0.0, began + number / BATCHES_A_SECOND - time.monotonic()))
            shop.online.write_arrow(shop.feast.config, VIEW, batch(number).table())

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def read(shop: Shop, gauges: list[int]) -> list[tuple[int, int] | None]:
    """The times of each gauge's row, every part of which agrees."""
    found = shop.online.online_read(shop.feast.config, VIEW, [gauge_key(gauge) for gauge in gauges])
    times: list[tuple[int, int] | None] = []
    for gauge, (when, values) in zip(gauges, found, strict=True):
        if when is None or values is None:
            times.append(None)
            continue
        event = to_us(when)
        assert values["level"].double_val == event / 2
        assert values["note"].string_val == str(event)
        other, created = divmod(values["count"].int64_val, 10**9)
        assert other == gauge
        times.append((event, created))
    return times


def test_a_stream_of_events_loses_no_newest_value_and_tears_no_row(shop: Shop) -> None:
    dice, latest = np.random.default_rng(0), dict.fromkeys(range(MANY), 0)
    with stream(shop) as process:
        while process.is_alive():
            gauges = dice.choice(MANY, size=100, replace=False).tolist()
            for gauge, times in zip(gauges, read(shop, gauges), strict=True):
                if times is not None:
                    assert times[0] >= latest[gauge]  # What was served never grows older.
                    latest[gauge] = times[0]
        assert process.exitcode == 0

    newest: dict[int, tuple[int, int]] = {}
    for number in range(SECONDS * BATCHES_A_SECOND):
        events = batch(number)
        for gauge, event, created in zip(
            events.gauge.tolist(), events.event_us.tolist(), events.created_us.tolist(), strict=True
        ):
            newest[gauge] = max(newest.get(gauge, (0, 0)), (event, created))
    wanted = [newest.get(gauge) for gauge in range(MANY)]
    assert read(shop, list(range(MANY))) == [w and (w[0], w[1] % 10**9) for w in wanted]
