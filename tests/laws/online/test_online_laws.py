"""Laws 4 and 8 through Feast's API: the newest visible row, in whatever order, by whatever release."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from feast.type_map import feast_value_type_to_python_type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knownat.clock import to_us
from knownat.errors import EarlyRows
from tests.laws.online.gauges import (
    GAUGES,
    SKEW_US,
    TYPES,
    Reading,
    as_arrow,
    as_feast,
    gauge_key,
    gauge_view,
    leaders,
    newest,
    readings,
    seen,
)
from tests.soak import scale
from tests.stores.online.shop_views import NOW, Shop

START_US = to_us(NOW)
ALL = tuple(TYPES)
RELEASES: Sequence[Sequence[str]] = (("level",), ("level", "count"), ALL, ("level", "note"))

law = settings(max_examples=scale(40, 3_000), suppress_health_check=[HealthCheck.function_scoped_fixture])
near = st.integers(-5, 2).map(lambda s: START_US + s * 1_000_000) | st.integers(-40, 11).map(
    lambda t: START_US + t * 100_001
)


def write(shop: Shop, rows: Sequence[Reading], features: Sequence[str], *, arrow: bool) -> None:
    view, config = gauge_view(*features), shop.feast.config
    if arrow:
        shop.online.write_arrow(config, view, as_arrow(rows, features))
        return
    with suppress(EarlyRows):
        shop.online.online_write_batch(config, view, as_feast(rows, features))


def read(shop: Shop, features: Sequence[str]) -> list[Any]:
    """What Feast's API gives for each gauge, as (event time, Python values)."""
    keys = [gauge_key(gauge) for gauge in GAUGES]
    found = shop.online.online_read(shop.feast.config, gauge_view(*features), keys, list(features))
    # One row is decoded another way than many.
    alone = [
        shop.online.online_read(shop.feast.config, gauge_view(*features), [key], list(features))[0]
        for key in keys
    ]
    assert alone == found
    return [
        (
            None if moment is None else to_us(moment),
            values and {name: feast_value_type_to_python_type(value) for name, value in values.items()},
        )
        for moment, values in found
    ]


@law
@given(st.lists(readings(near), max_size=12), st.data())
def test_rows_in_any_order_repeated_and_in_any_batches_end_with_the_newest(
    shop: Shop, rows: list[Reading], data: st.DataObject
) -> None:
    fresh(shop)
    shop.clock.move_to(START_US + 5_000_000)
    for _ in range(2):
        left = data.draw(st.permutations(rows))
        while left:
            many = data.draw(st.integers(1, len(left)))
            write(shop, left[:many], ALL, arrow=data.draw(st.booleans()))
            left = left[many:]
    shop.clock.move_to(START_US)

    held = newest((row, ALL) for row in rows)
    assert read(shop, ALL) == [seen(held.get(gauge), ALL, START_US) for gauge in GAUGES]


steps = st.lists(
    st.tuples(st.integers(0, 1_500_000), st.lists(readings(near), max_size=4), st.booleans()), max_size=6
)


@law
@given(steps, st.integers(0, 4_000_000))
def test_a_read_gives_the_newest_row_visible_by_the_last_write_with_its_ttl(
    shop: Shop, written: list[tuple[int, list[Reading], bool]], later: int
) -> None:
    fresh(shop)
    now, admitted = START_US - 4_000_000, []
    for wait, rows, arrow in written:
        now += wait
        shop.clock.move_to(now)
        write(shop, rows, ALL, arrow=arrow)
        admitted += [(row, ALL) for row in rows if row.visible_us <= now + SKEW_US]
        held = newest(admitted)
        assert read(shop, ALL) == [seen(held.get(gauge), ALL, now) for gauge in GAUGES]
    shop.clock.move_to(now + later)
    held = newest(admitted)
    assert read(shop, ALL) == [seen(held.get(gauge), ALL, now + later) for gauge in GAUGES]


@law
@given(
    st.lists(
        st.tuples(st.sampled_from(RELEASES), st.lists(readings(near), max_size=4), st.booleans()), max_size=6
    )
)
def test_every_release_reads_what_any_release_wrote(
    shop: Shop, written: list[tuple[Sequence[str], list[Reading], bool]]
) -> None:
    fresh(shop)
    shop.clock.move_to(START_US + 5_000_000)
    for features, rows, arrow in written:
        write(shop, rows, features, arrow=arrow)
    shop.clock.move_to(START_US)

    held = leaders([(row, features) for features, rows, _ in written for row in rows])
    for release in RELEASES:
        for gauge, found in zip(GAUGES, read(shop, release), strict=True):
            assert found in [seen(row, release, START_US) for row in held.get(gauge, [None])]


def fresh(shop: Shop) -> None:
    shop.online.row_store(shop.feast.config).delete_project("shop")
