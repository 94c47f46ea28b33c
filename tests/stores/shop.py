"""A small shop: its repo is copied and its tables are generated, late rows and corrections included."""

import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

DEFINITIONS = Path(__file__).parent / "repos" / "shop"
START = datetime(2024, 3, 29, tzinfo=UTC)  # two days before Europe puts its clocks forward
MOMENT = pa.timestamp("us", tz="UTC")
CUSTOMERS = range(1, 13)
REGIONS = ("north", "south", "Süd")


def at(hours: float = 0, *, microseconds: int = 0) -> datetime:
    return START + timedelta(hours=hours, microseconds=microseconds)


def copy_shop(folder: Path) -> Path:
    """Copy the shop's definitions and write its tables."""
    repo = folder / "feature_repo"
    shutil.copytree(DEFINITIONS, repo, ignore=shutil.ignore_patterns("__pycache__"))
    (repo / "data" / "sales").mkdir(parents=True)
    orders, sales = order_rows(), sales_rows()
    pq.write_table(orders, repo / "data" / "orders.parquet", row_group_size=50)
    pq.write_table(sales.slice(0, 60), repo / "data" / "sales" / "a.parquet")
    pq.write_table(sales.slice(60), repo / "data" / "sales" / "b.parquet")
    return repo


def order_rows() -> pa.Table:
    dice = random.Random(7)
    events, created = _times(dice, 400)
    return pa.table(
        {
            "customer_id": pa.array([dice.choice(CUSTOMERS) for _ in events], pa.int64()),
            "event_timestamp": pa.array(events, MOMENT),
            "created_timestamp": pa.array(created, MOMENT),
            "order_count_30d": _some(dice, lambda: 2**53 + dice.randrange(100), pa.int64()),
            "order_value_eur_30d": _some(dice, lambda: dice.random() * 100, pa.float64()),
            "last_channel": _some(dice, lambda: dice.choice(["web", "shop", ""]), pa.string()),
            "is_member": _some(dice, lambda: dice.random() < 0.5, pa.bool_()),
            "last_order_us": _some(dice, lambda: 1_711_000_000_000_000 + dice.randrange(10**9), pa.int64()),
        }
    ).sort_by("created_timestamp")


def sales_rows() -> pa.Table:
    dice = random.Random(8)
    events, created = _times(dice, 120)
    return pa.table(
        {
            "code": pa.array([dice.choice(REGIONS) for _ in events], pa.string()),
            "happened": pa.array(events, MOMENT),
            "published": pa.array(created, MOMENT),
            "sum_x": pa.array([dice.randrange(1_000) for _ in events], pa.int32()),
        }
    )


def examples(rows: int = 300) -> pa.Table:
    """Questions over the shop's days: unknown customers, null keys and unsorted times among them."""
    dice = random.Random(9)
    asked = [at(dice.uniform(-5, 140), microseconds=dice.randrange(10**6)) for _ in range(rows)]
    keys = [*CUSTOMERS, 999, None]
    return pa.table(
        {
            "note": pa.array(range(rows), pa.int32()),
            "customer_id": pa.array([dice.choice(keys) for _ in range(rows)], pa.int64()),
            "home_region": pa.array(
                [dice.choice([*REGIONS, "nowhere", None]) for _ in range(rows)], pa.string()
            ),
            "event_timestamp": pa.array(asked, MOMENT),
            "question_us": pa.array([int(t.timestamp() * 1e6) for t in asked], pa.int64()),
        }
    )


def _times(dice: random.Random, rows: int) -> tuple[list[datetime], list[datetime]]:
    # Whole hours among the events make ties; some rows become known hours or days late.
    events = [at(dice.choice([dice.randrange(120), dice.uniform(0, 120)])) for _ in range(rows)]
    late = [timedelta(hours=dice.choice([0, 0, 0, 1, 5, 60])) for _ in range(rows)]
    return events, [event + wait for event, wait in zip(events, late, strict=True)]


def _some(dice: random.Random, value: Callable[[], object], kind: pa.DataType) -> pa.Array:
    return pa.array([None if dice.random() < 0.15 else value() for _ in range(400)], kind)
